//! A plan, as a model has to write it.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

/// Steps that lead to a goal, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the plan does, in one or two sentences.
    pub summary: String,
    /// The steps, at least one.
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<Step>,
}

/// One script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the step does, in a few words.
    #[schemars(length(min = 1))]
    pub title: String,
    /// Language of the script.
    pub kind: StepKind,
    /// The whole script.
    #[schemars(length(min = 1))]
    pub script: String,
}

/// Language of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// POSIX shell.
    Shell,
    /// Python 3.
    Python,
}

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not JSON of the right shape.
    #[error("the answer is not JSON of the schema: {0}")]
    Shape(#[from] serde_json::Error),
    /// A part that is needed is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
}

impl Plan {
    /// Reads a model's answer: the plan as JSON, and nothing else.
    ///
    /// # Errors
    /// Says what is wrong, in words that a model can act on.
    pub fn parse(answer: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(answer)?;
        if plan.steps.is_empty() {
            return Err(PlanError::Empty("`steps`"));
        }
        for step in &plan.steps {
            if step.title.trim().is_empty() {
                return Err(PlanError::Empty("the `title` of a step"));
            }
            if step.script.trim().is_empty() {
                return Err(PlanError::Empty("the `script` of a step"));
            }
        }
        Ok(plan)
    }

    /// Returns the JSON Schema that a model's answer has to satisfy, without references.
    pub fn schema() -> String {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
        });
        settings
            .into_generator()
            .into_root_schema_for::<Self>()
            .to_value()
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn sample() -> Value {
        json!({
            "summary": "counts lines",
            "steps": [{"title": "count", "kind": "shell", "script": "wc -l notes.txt"}],
        })
    }

    #[test]
    fn agt_03_a_plan_survives_its_text() {
        let plan = Plan::parse(&sample().to_string()).unwrap();
        assert_eq!(serde_json::to_value(&plan).unwrap(), sample());
    }

    #[test]
    fn agt_03_what_is_no_plan_is_refused() {
        let mut unknown = sample();
        unknown["steps"][0]["cwd"] = json!("/");
        let mut kind = sample();
        kind["steps"][0]["kind"] = json!("perl");
        let mut none = sample();
        none["steps"] = json!([]);
        let mut blank = sample();
        blank["steps"][0]["script"] = json!("  \n");
        let fenced = format!("```json\n{}\n```", sample());
        let twice = format!("{}{}", sample(), sample());
        let texts = [unknown, kind, none, blank].map(|value| value.to_string());
        for text in texts
            .into_iter()
            .chain([fenced, twice, String::new(), "hello".to_owned()])
        {
            assert!(Plan::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_schema_stands_alone_and_is_as_strict_as_the_parser() {
        let schema: Value = serde_json::from_str(&Plan::schema()).unwrap();
        assert!(!schema.to_string().contains("$ref"));
        assert_eq!(schema["additionalProperties"], json!(false));
        let step = &schema["properties"]["steps"]["items"];
        assert_eq!(step["additionalProperties"], json!(false));
        assert_eq!(step["required"], json!(["title", "kind", "script"]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agt_03_no_answer_makes_the_parser_panic(text in "\\PC*") {
            let _ = Plan::parse(&text);
        }
    }
}
