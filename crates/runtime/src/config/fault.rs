//! What is wrong with a configuration, all of it at once.

use std::{error::Error, fmt};

use sutazai_proto::{Coded, Details, ErrorCode, Violation};

/// One missing or invalid setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of the setting.
    pub name: String,
    /// The rule that it breaks.
    pub rule: String,
    /// Where to set it.
    pub place: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Exit code of a process that refuses its configuration (`EX_CONFIG` of `sysexits.h`).
    pub const EXIT_CODE: u8 = 78;

    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Returns the faults in the order in which the settings were read.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

/// One line of summary, then two lines for each setting.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, verb) = (
            self.0.len(),
            if self.0.len() == 1 { " is" } else { "s are" },
        );
        write!(f, "{count} setting{verb} missing or invalid")?;
        for Fault { name, rule, place } in &self.0 {
            write!(f, "\n  {name}: {rule}\n    where: {place}")?;
        }
        Ok(())
    }
}

impl Error for Faults {}

impl Coded for Faults {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "invalid_configuration"
    }

    fn details(&self) -> Details {
        let violation = |fault: &Fault| Violation {
            field: fault.name.clone(),
            description: fault.rule.clone(),
        };
        Details {
            violations: self.0.iter().map(violation).collect(),
            ..Details::default()
        }
    }
}
