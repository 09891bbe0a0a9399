//! Which traces are kept.

use opentelemetry_sdk::trace::Sampler;

/// Which traces are kept; by default those that their beginner keeps, and all that begin here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether the mark that a caller sent decides for its trace.
    pub parent_based: bool,
    /// Share of the traces that are kept where no caller decides, from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            parent_based: true,
            ratio: 1.0,
        }
    }
}

impl Sampling {
    /// Finds a sampler by its name in `OTEL_TRACES_SAMPLER`; nothing when the name or its argument is
    /// none of the specification's.
    pub(super) fn named(name: &str, argument: Option<&str>) -> Option<Self> {
        let (parent_based, plain) = match name.strip_prefix("parentbased_") {
            Some(plain) => (true, plain),
            None => (false, name),
        };
        let ratio = match plain {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument.map_or(Some(1.0), |text| text.parse().ok())?,
            _ => return None,
        };
        (0.0..=1.0).contains(&ratio).then_some(Self {
            parent_based,
            ratio,
        })
    }

    pub(super) fn sampler(self) -> Sampler {
        let ratio = Sampler::TraceIdRatioBased(self.ratio);
        if self.parent_based {
            Sampler::ParentBased(Box::new(ratio))
        } else {
            ratio
        }
    }
}
