//! Reads settings one by one and remembers what was asked for and what was wrong.

use std::{
    collections::BTreeMap,
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};

use super::{
    Fault, Faults, Loaded, Profile, Setting, Source, Strength, mask::mask, secret::read_file,
};

/// Longest time that a setting in seconds may stand for: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads settings from a [`Source`].
///
/// Each read names the setting and what it is for. A missing or invalid one is remembered as a
/// fault and answered with `None`, so that reading goes on and all faults come out together.
#[derive(Debug)]
pub struct Reader<'a> {
    source: &'a Source,
    profile: Profile,
    aliases: BTreeMap<&'static str, &'static str>,
    settings: Vec<Setting>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

/// A secret that was found, and how it was given.
struct Found {
    variable: String,
    by_file: bool,
    secret: SecretString,
}

impl<'a> Reader<'a> {
    /// Starts reading; the profile is the first setting.
    pub fn new(source: &'a Source) -> Self {
        let mut reader = Self {
            source,
            profile: Profile::Production,
            aliases: BTreeMap::new(),
            settings: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        reader.profile = reader.or(
            Profile::SETTING,
            "how strict the process is: `dev` or `production`",
            Profile::Production,
        );
        reader
    }

    /// Returns how strict the process is.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Accepts `old` as another name of the setting `name`, which is read later.
    pub fn alias(&mut self, name: &'static str, old: &'static str) {
        self.aliases.insert(name, old);
    }

    /// Tells whether the setting is given, by value or by file, without reading it.
    pub fn is_set(&self, name: &str) -> bool {
        self.source.get(name).is_some() || self.source.get(&format!("{name}_FILE")).is_some()
    }

    /// Returns a variable as it is given, for those that somebody else's specification describes.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.source.get(name)
    }

    /// Reads a setting without which the service can not start.
    pub fn required<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
        doc: &'static str,
    ) -> Option<T> {
        let text = self.plain(name, doc, None, true);
        if text.is_none() {
            self.fault(name, format!("is required: {doc}"));
        }
        self.parse(name, &text?)
    }

    /// Reads a setting that may be absent.
    pub fn optional<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
        doc: &'static str,
    ) -> Option<T> {
        let text = self.plain(name, doc, None, false)?;
        self.parse(name, &text)
    }

    /// Reads a setting with a default; the default also stands in for an invalid value, beside
    /// the fault.
    pub fn or<T: FromStr<Err: Display> + Display>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        default: T,
    ) -> T {
        let text = self.plain(name, doc, Some(default.to_string()), false);
        text.and_then(|text| self.parse(name, &text))
            .unwrap_or(default)
    }

    /// Reads a number with a default and bounds.
    pub fn within<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        default: T,
        bounds: RangeInclusive<T>,
    ) -> T
    where
        T: FromStr<Err: Display> + Display + PartialOrd + Clone,
    {
        let value = self.or(name, doc, default.clone());
        if bounds.contains(&value) {
            return value;
        }
        let (least, most) = bounds.into_inner();
        self.fault(name, format!("must be from {least} to {most}"));
        default
    }

    /// Reads a time in seconds; fractions are allowed.
    pub fn seconds(
        &mut self,
        name: &'static str,
        doc: &'static str,
        default: Duration,
    ) -> Duration {
        let seconds = self.or(name, doc, default.as_secs_f64());
        self.time(name, seconds).unwrap_or(default)
    }

    /// Reads a time in seconds that may be absent; fractions are allowed.
    pub fn optional_seconds(&mut self, name: &'static str, doc: &'static str) -> Option<Duration> {
        let seconds = self.optional(name, doc)?;
        self.time(name, seconds)
    }

    fn time(&mut self, name: &'static str, seconds: f64) -> Option<Duration> {
        let time = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|time| *time <= LONGEST);
        if time.is_none() {
            self.fault(name, format!("must be from 0 to {} s", LONGEST.as_secs()));
        }
        time
    }

    /// Reads a secret without which the service can not start.
    ///
    /// It comes from the file that `<name>_FILE` names, which only its owner may reach, or by
    /// value, which production refuses.
    pub fn secret(
        &mut self,
        name: &'static str,
        doc: &'static str,
        strength: Strength,
    ) -> Option<SecretString> {
        let before = self.faults.len();
        let found = self.read_secret(name, doc, strength, true);
        if found.is_none() && self.faults.len() == before {
            self.secret_fault(name, format!("is required: {doc}"));
        }
        found
    }

    /// Reads a secret that may be absent, otherwise like [`Reader::secret`].
    pub fn optional_secret(
        &mut self,
        name: &'static str,
        doc: &'static str,
        strength: Strength,
    ) -> Option<SecretString> {
        self.read_secret(name, doc, strength, false)
    }

    /// Remembers a fault that the reader can not see itself, such as two settings that exclude
    /// each other.
    pub fn fault(&mut self, name: &str, rule: impl Into<String>) {
        self.faults.push(Fault {
            name: name.to_owned(),
            rule: rule.into(),
            place: format!("environment variable {name}"),
        });
    }

    /// Returns every setting that was asked for so far, in the order of reading.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// Names every fault; `None` for the configuration is one of its own when nothing explains it.
    pub fn finish<C>(mut self, config: Option<C>) -> Result<Loaded<C>, Faults> {
        if config.is_none() && self.faults.is_empty() {
            self.fault("configuration", "was given up without naming a setting");
        }
        match config {
            Some(config) if self.faults.is_empty() => Ok(Loaded {
                config,
                settings: self.settings,
                warnings: self.warnings,
            }),
            _ => Err(Faults::new(self.faults)),
        }
    }

    /// Returns the text of a setting that is no secret, and lists the setting.
    fn plain(
        &mut self,
        name: &'static str,
        doc: &'static str,
        default: Option<String>,
        required: bool,
    ) -> Option<String> {
        let old = self.aliases.get(name).copied();
        let own = self.source.get(name);
        let other = old.and_then(|old| self.source.get(old));
        if let (Some(old), Some(own), Some(other)) = (old, own, other)
            && own != other
        {
            self.conflict(name, name, old);
        }
        let text = own.or(other).map(str::to_owned);
        let value_shown = text.as_deref().map(mask).or_else(|| default.clone());
        self.list(Setting {
            name,
            doc,
            default,
            secret: false,
            required,
            value_shown,
        });
        text
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, name: &'static str, text: &str) -> Option<T> {
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let error = mask(&error.to_string());
                self.fault(name, format!("`{}` is invalid: {error}", mask(text)));
                None
            }
        }
    }

    fn read_secret(
        &mut self,
        name: &'static str,
        doc: &'static str,
        strength: Strength,
        required: bool,
    ) -> Option<SecretString> {
        let mut found = Vec::new();
        for variable in [Some(name), self.aliases.get(name).copied()]
            .into_iter()
            .flatten()
        {
            found.extend(self.by_value(name, variable));
            found.extend(self.by_file(name, variable));
        }
        for two in found.windows(2) {
            if two[0].secret.expose_secret() != two[1].secret.expose_secret() {
                let (first, second) = (two[0].variable.clone(), two[1].variable.clone());
                self.conflict(name, &first, &second);
            }
        }
        let found = found.into_iter().next();
        self.list(Setting {
            name,
            doc,
            default: None,
            secret: true,
            required,
            value_shown: found.as_ref().map(|found| {
                let how = if found.by_file { "file" } else { "value" };
                format!("(secret, given by {how} in {})", found.variable)
            }),
        });
        let Found {
            variable, secret, ..
        } = found?;
        match strength.judge(secret.expose_secret()) {
            Ok(()) => Some(secret),
            Err(weakness) => {
                self.secret_fault(name, format!("{variable} {weakness}"));
                None
            }
        }
    }

    fn by_value(&mut self, name: &'static str, variable: &str) -> Option<Found> {
        let secret = SecretString::from(self.source.get(variable)?);
        match self.profile {
            Profile::Production => {
                self.secret_fault(
                    name,
                    format!("{variable} is given by value, which production refuses"),
                );
                None
            }
            Profile::Dev => {
                self.warnings.push(format!(
                    "{variable} is given by value; production takes it only from {variable}_FILE"
                ));
                Some(Found {
                    variable: variable.to_owned(),
                    by_file: false,
                    secret,
                })
            }
        }
    }

    fn by_file(&mut self, name: &'static str, variable: &str) -> Option<Found> {
        let variable = format!("{variable}_FILE");
        let path = PathBuf::from(self.source.get(&variable)?);
        match read_file(Path::new(&path)) {
            Ok(secret) => Some(Found {
                variable,
                by_file: true,
                secret,
            }),
            Err(fault) => {
                self.secret_fault(name, format!("{variable}={}: {fault}", path.display()));
                None
            }
        }
    }

    fn conflict(&mut self, name: &'static str, one: &str, other: &str) {
        self.fault(
            name,
            format!("{one} and {other} are both set, and differ; keep one of them"),
        );
    }

    fn secret_fault(&mut self, name: &'static str, rule: String) {
        let by_value = match self.profile {
            Profile::Dev => format!(", or {name} itself"),
            Profile::Production => String::new(),
        };
        self.faults.push(Fault {
            name: name.to_owned(),
            rule,
            place: format!(
                "environment variable {name}_FILE, the path of a file of mode 0600{by_value}"
            ),
        });
    }

    fn list(&mut self, setting: Setting) {
        if self.settings.iter().all(|known| known.name != setting.name) {
            self.settings.push(setting);
        }
    }
}
