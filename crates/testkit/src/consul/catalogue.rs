//! What is registered, and how it is shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The one node, where everything is registered.
const NODE: &str = "local";
const ADDRESS: &str = "127.0.0.1";

/// Everything registered, by id, and the index of the last change.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    pub(super) index: u64,
    /// Another one after each loss of state: whoever waits for a change is answered then.
    pub(super) epoch: u64,
    services: BTreeMap<String, Value>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            // A real one has entered itself by now.
            index: 10,
            epoch: 0,
            services: BTreeMap::new(),
        }
    }
}

impl Catalogue {
    pub(super) fn touch(&mut self) {
        self.index += 1;
    }

    pub(super) fn turn_back(&mut self) {
        self.index = 3;
        self.epoch += 1;
    }

    pub(super) fn forget(&mut self) {
        *self = Self {
            epoch: self.epoch + 1,
            ..Self::default()
        };
    }

    /// Enters a registration, or says what is wrong with it.
    pub(super) fn enter(&mut self, body: &Value) -> Result<(), &'static str> {
        let text = |field: &str| body[field].as_str().filter(|text| !text.is_empty());
        let name = text("Name").ok_or("Missing service name")?;
        let id = text("ID").unwrap_or(name).to_owned();
        self.services.insert(id, body.clone());
        self.touch();
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let removed = self.services.remove(id).is_some();
        if removed {
            self.touch();
        }
        removed
    }

    /// Returns one entry as the agent shows it.
    pub(super) fn of_agent(&self, id: &str) -> Option<Value> {
        Some(shown(id, self.services.get(id)?))
    }

    /// Returns all entries as the agent shows them.
    pub(super) fn all_of_agent(&self) -> Value {
        let all = self.services.iter();
        all.map(|(id, body)| (id.clone(), shown(id, body)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Returns the instances of a service with their nodes and checks.
    pub(super) fn passing(&self, service: &str) -> Value {
        let of_service = self.services.iter();
        let of_service = of_service.filter(|(_, body)| body["Name"] == service);
        let entry = |(id, body): (&String, &Value)| {
            let mut service = shown(id, body);
            // Here, and not where the agent shows it, no meta is null.
            service["Meta"] = body["Meta"].clone();
            let checks = checks(body);
            let checks: Vec<_> = checks
                .iter()
                .map(|check| check_of(id, body, check))
                .collect();
            json!({
                "Node": {"Node": NODE, "Address": ADDRESS, "Datacenter": "dc1"},
                "Service": service,
                "Checks": checks,
            })
        };
        of_service.map(entry).collect()
    }

    /// Returns the tags of each service by its name.
    pub(super) fn names(&self) -> Value {
        let mut names = serde_json::Map::from_iter([("consul".to_owned(), json!([]))]);
        for body in self.services.values() {
            let name = body["Name"].as_str().unwrap_or_default();
            names.insert(name.to_owned(), or(&body["Tags"], json!([])));
        }
        names.into()
    }

    /// Tells whether an entry has a check of this id.
    pub(super) fn has_check(&self, id: &str) -> bool {
        let mut all = self.services.values().flat_map(checks);
        all.any(|check| check["CheckID"] == id)
    }
}

fn shown(id: &str, body: &Value) -> Value {
    json!({
        "ID": id,
        "Service": body["Name"],
        "Tags": or(&body["Tags"], json!([])),
        "Meta": or(&body["Meta"], json!({})),
        "Port": or(&body["Port"], json!(0)),
        "Address": or(&body["Address"], json!("")),
        "Weights": or(&body["Weights"], json!({"Passing": 1, "Warning": 1})),
        "EnableTagOverride": false,
    })
}

fn checks(body: &Value) -> Vec<Value> {
    let one = [&body["Check"]]
        .into_iter()
        .filter(|check| check.is_object());
    let many = body["Checks"].as_array().into_iter().flatten();
    one.chain(many).cloned().collect()
}

fn check_of(id: &str, body: &Value, check: &Value) -> Value {
    json!({
        "Node": NODE,
        "CheckID": or(&check["CheckID"], json!(format!("service:{id}"))),
        "Name": or(&check["Name"], json!("Service check")),
        "Status": "passing",
        "ServiceID": id,
        "ServiceName": body["Name"],
    })
}

fn or(value: &Value, absent: Value) -> Value {
    if value.is_null() {
        absent
    } else {
        value.clone()
    }
}
