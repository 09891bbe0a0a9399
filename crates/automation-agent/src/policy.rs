//! What a plan may do: judged before anything runs, and with nothing but the plan at hand.

use serde::Serialize;

use self::rule::Rule;
use crate::plan::{Plan, Step, StepKind};

mod paths;
mod python;
pub mod rule;
mod shell;

/// Most steps of a plan.
const STEPS: usize = 20;
/// Largest script, in bytes.
const SCRIPT: usize = 8 * 1024;
/// Most reasons given for one step.
const REASONS: usize = 20;
/// Longest quotation of a script in a reason, in characters.
const QUOTATION: usize = 80;

/// What is granted beyond the ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Steps may fetch from the network by curl and wget.
    pub network: bool,
}

/// The outcome of judging a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No rule is broken.
    Allowed,
    /// At least one rule is broken.
    Refused,
}

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Number of the step, from 1; 0 for the plan as a whole.
    pub step: usize,
    /// The rule.
    pub rule: Rule,
    /// Why there is such a rule, and what broke it.
    pub text: String,
}

impl Policy {
    /// Judges a plan; it is allowed when no reason speaks against it.
    pub fn judge(self, plan: &Plan) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if plan.steps.len() > STEPS {
            reasons.push(reason(
                0,
                Rule::TooManySteps,
                &format!("{} steps", plan.steps.len()),
            ));
        }
        for (at, step) in plan.steps.iter().take(STEPS).enumerate() {
            let findings = self.judge_step(step);
            reasons.extend(
                findings
                    .0
                    .iter()
                    .map(|(rule, what)| reason(at + 1, *rule, what)),
            );
        }
        reasons
    }

    fn judge_step(self, step: &Step) -> Findings {
        let mut findings = Findings::default();
        if step.script.len() > SCRIPT {
            findings.add(
                Rule::ScriptTooLarge,
                &format!("{} bytes", step.script.len()),
            );
            return findings;
        }
        match step.kind {
            StepKind::Shell => shell::judge(self, &step.script, &mut findings),
            StepKind::Python => python::judge(&step.script, &mut findings),
        }
        findings
    }
}

/// What was found in one step.
#[derive(Debug, Default)]
struct Findings(Vec<(Rule, String)>);

impl Findings {
    fn add(&mut self, rule: Rule, what: &str) {
        let quoted = |c: char| if c.is_control() { '…' } else { c };
        let what: String = what.chars().take(QUOTATION).map(quoted).collect();
        let finding = (rule, what);
        if self.0.len() < REASONS && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}

fn reason(step: usize, rule: Rule, what: &str) -> Reason {
    Reason {
        step,
        rule,
        text: format!("{}: {what}", rule.why()),
    }
}
