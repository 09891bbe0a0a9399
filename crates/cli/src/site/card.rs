//! What people see of a running platform: where everything is, and three commands to paste.

use std::collections::BTreeMap;

use super::Description;
use crate::screen::Screen;

impl Description {
    /// Returns three commands that work when pasted into a shell, each with what it does.
    pub fn commands(&self) -> [(&'static str, String); 3] {
        let api = &self.api;
        let key = shell_word(&self.api_key_file.display().to_string());
        let auth = format!(r#"-H "Authorization: Bearer $(cat {key})""#);
        let json = "-H 'Content-Type: application/json'";
        let chat = format!(
            r#"curl -sN {api}/api/v1/chat {auth} {json} -d '{{"message":"hello","stream":true}}'"#
        );
        let submit = format!(
            r#"curl -si {api}/api/v1/tasks {auth} {json} -d '{{"type":"llm.generate","input":{{"prompt":"Why is the sky blue?"}}}}'"#
        );
        let task = format!(
            r#"curl -sN {auth} "{api}$({submit} | sed -n 's/^[Ll]ocation: *\([^[:cntrl:]]*\).*/\1/p')/events""#
        );
        let program = std::env::current_exe()
            .map_or_else(|_| "sutazai".into(), |path| path.display().to_string());
        let data = self
            .api_key_file
            .parent()
            .map(|folder| folder.display().to_string());
        let doctor = format!(
            "{} doctor --data {}",
            shell_word(&program),
            shell_word(&data.unwrap_or_default())
        );
        [
            ("a chat", chat),
            ("a task, followed to its end", task),
            ("a look at every part", doctor),
        ]
    }
}

/// Prints where everything is.
pub fn print(description: &Description, screen: &Screen) {
    if screen.is_json() {
        let commands: BTreeMap<_, _> = description.commands().into();
        screen.event(
            &serde_json::json!({"event": "ready", "platform": description, "commands": commands}),
        );
        return;
    }
    let rows = [
        ("API", description.api.clone()),
        ("Documentation", format!("{}/docs", description.api)),
        ("Models (Ollama, OpenAI)", description.models.clone()),
        (
            "Administrator's API key",
            description.api_key_file.display().to_string(),
        ),
        ("Model node", description.nodes.join(", ")),
    ];
    screen.line("");
    for (name, value) in rows {
        screen.line(format!("  {name:<24} {value}"));
    }
    for (what, command) in description.commands() {
        screen.line(format!("\n{}", screen.bold(&format!("  {what}:"))));
        screen.line(command);
    }
    screen.line("\nCtrl-C stops it; what was stored stays.");
}

/// Quotes a word for a POSIX shell where it needs that.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_survive_a_shell() {
        for word in ["/plain/path", "with space", "it's", ""] {
            let script = format!("printf %s {}", shell_word(word));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
