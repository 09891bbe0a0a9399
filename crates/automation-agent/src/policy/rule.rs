//! The rules by name, each with its reason.

use serde::{Serialize, Serializer};

/// What a plan can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table says what each one is")]
pub enum Rule {
    TooManySteps,
    ScriptTooLarge,
    UnreadableScript,
    HiddenCode,
    CommandNotAllowed,
    ModuleNotAllowed,
    DestroysData,
    ForkBomb,
    PipesIntoInterpreter,
    SpawnsProcess,
    RaisesPrivilege,
    StopsHost,
    StopsProcesses,
    ReadsCredentials,
    ReadsOutside,
    WritesOutside,
    UnseenArguments,
    UsesNetwork,
    InstallsSoftware,
    ChangesHost,
    OutlivesRun,
    AltersEnvironment,
}

/// One row: the rule, its stable name, why it is there.
type Row = (Rule, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: [Row; 22] = [
    (Rule::TooManySteps,         "too_many_steps",         "a plan has at most 20 steps, so that a person can read it"),
    (Rule::ScriptTooLarge,       "script_too_large",       "a script has at most 8 KiB, so that a person can read it"),
    (Rule::UnreadableScript,     "unreadable_script",      "what can not be read with certainty can not be judged"),
    (Rule::HiddenCode,           "hidden_code",            "code has to stand in the plan itself, not be made, decoded or loaded while it runs"),
    (Rule::CommandNotAllowed,    "command_not_allowed",    "only the commands of the policy's table may be used"),
    (Rule::ModuleNotAllowed,     "module_not_allowed",     "only the Python modules of the policy's table may be used"),
    (Rule::DestroysData,         "destroys_data",          "deleting outside the work folder, or without naming what, can not be undone"),
    (Rule::ForkBomb,             "fork_bomb",              "a function that calls itself can multiply without end"),
    (Rule::PipesIntoInterpreter, "pipes_into_interpreter", "an interpreter that reads a stream runs code that nobody has seen"),
    (Rule::SpawnsProcess,        "spawns_process",         "a Python step that starts processes escapes the rules for shell steps"),
    (Rule::RaisesPrivilege,      "raises_privilege",       "a plan runs with the rights it has"),
    (Rule::StopsHost,            "stops_host",             "the machine serves others too"),
    (Rule::StopsProcesses,       "stops_processes",        "processes outside the plan are not its own"),
    (Rule::ReadsCredentials,     "reads_credentials",      "secrets are not for plans to see"),
    (Rule::ReadsOutside,         "reads_outside",          "files are read in the work folder only"),
    (Rule::WritesOutside,        "writes_outside",         "files are written in the work folder only"),
    (Rule::UnseenArguments,      "unseen_arguments",       "what is touched has to be named in the plan, not found out while it runs"),
    (Rule::UsesNetwork,          "uses_network",           "the network was not granted"),
    (Rule::InstallsSoftware,     "installs_software",      "software from elsewhere is code that nobody has seen"),
    (Rule::ChangesHost,          "changes_host",           "services, users, mounts and devices of the machine are not the plan's"),
    (Rule::OutlivesRun,          "outlives_run",           "what goes on after the step can not be followed or stopped"),
    (Rule::AltersEnvironment,    "alters_environment",     "these variables change what other programs do"),
];

impl Rule {
    /// Returns the stable name.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns the reason for the rule.
    pub fn why(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> Row {
        let found = ROWS.into_iter().find(|(rule, ..)| *rule == self);
        found.unwrap_or((self, "", ""))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_one_row() {
        let rules: BTreeSet<Rule> = ROWS.iter().map(|(rule, ..)| *rule).collect();
        assert_eq!(rules.len(), ROWS.len());
        // The last variant is the largest, so all before it have a row when the count is right.
        assert_eq!(Rule::AltersEnvironment as usize + 1, ROWS.len());
    }
}
