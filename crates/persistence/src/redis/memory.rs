//! How much a Redis may hold, and what it does when it is full.

/// How much a Redis may hold and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may use; 0 is no limit.
    pub limit: u64,
    /// What it does when it is full, as `maxmemory-policy` names it.
    pub policy: String,
}

impl Memory {
    /// Reads the section `memory` of the server's `INFO`.
    pub(super) fn read(info: &str) -> Self {
        let number = |name| field(info, name).and_then(|text| text.parse().ok());
        Self {
            used: number("used_memory").unwrap_or_default(),
            limit: number("maxmemory").unwrap_or_default(),
            policy: field(info, "maxmemory_policy")
                .unwrap_or("unknown")
                .to_owned(),
        }
    }

    /// Returns what an operator should change: a cache without these two fills the machine, or
    /// stops taking entries when it is full.
    pub fn advice(&self) -> Option<String> {
        if self.limit == 0 {
            return Some("Redis has no memory limit: set maxmemory, for example 256mb".to_owned());
        }
        (self.policy == "noeviction").then(|| {
            "a full Redis would refuse every write: set maxmemory-policy, for example allkeys-lru"
                .to_owned()
        })
    }
}

/// Finds a field in an answer of `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cch_10_a_missing_limit_or_policy_is_named_with_its_setting() {
        let info = |limit, policy| {
            format!(
                "# Memory\r\nused_memory:7\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        let good = Memory::read(&info(5, "allkeys-lru"));
        assert_eq!((good.used, good.limit, good.advice()), (7, 5, None));
        let unlimited = Memory::read(&info(0, "allkeys-lru")).advice().unwrap();
        assert!(unlimited.contains("set maxmemory,"), "{unlimited}");
        let refusing = Memory::read(&info(5, "noeviction")).advice().unwrap();
        assert!(refusing.contains("set maxmemory-policy,"), "{refusing}");
    }
}
