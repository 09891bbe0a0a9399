//! Which route a request takes, by the rules of Kong's `traditional_compatible` router.

use regex::Regex;

use super::entity::{Declaration, Route, Service};

/// Marks a path that is a regular expression.
const PATTERN: char = '~';
/// Marks a value of a header that is a regular expression.
const HEADER_PATTERN: &str = "~*";

/// A request, as far as routes look at it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Without its query.
    pub path: &'a str,
    /// Value of the `Authorization` header.
    pub authorization: Option<&'a str>,
}

/// The routes of a configuration, ready to be asked.
#[derive(Debug)]
pub struct Router<'a> {
    ways: Vec<Way<'a>>,
}

/// One path of a route, the part of it that a request matches.
#[derive(Debug)]
pub struct Way<'a> {
    /// Where it leads.
    pub service: &'a Service,
    /// The route.
    pub route: &'a Route,
    /// Which of its paths.
    pub path: &'a str,
    matcher: Matcher<'a>,
    headers: Vec<(&'a str, Vec<Matcher<'a>>)>,
    rank: Rank,
}

#[derive(Debug)]
enum Matcher<'a> {
    Pattern(Regex),
    Plain(&'a str),
}

/// What decides between routes that match: conditions, patterns before prefixes, length.
type Rank = (usize, bool, usize);

/// A regular expression that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("route {route}: `{pattern}` is no regular expression")]
pub struct NoPattern {
    /// The route.
    pub route: String,
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub source: regex::Error,
}

impl<'a> Router<'a> {
    /// Reads the routes of all services that are enabled.
    ///
    /// # Errors
    /// A route has a pattern that can not be read.
    pub fn new(declaration: &'a Declaration) -> Result<Self, NoPattern> {
        let mut ways = Vec::new();
        for service in declaration.services.iter().filter(|one| one.enabled) {
            for route in &service.routes {
                for path in &route.paths {
                    ways.push(Way::new(service, route, path)?);
                }
            }
        }
        ways.sort_by_key(|way| std::cmp::Reverse(way.rank));
        Ok(Self { ways })
    }

    /// Returns the ways that a request matches; it takes the first.
    pub fn matches(&self, request: Request<'_>) -> Vec<&Way<'a>> {
        let ways = self.ways.iter();
        ways.filter(|way| way.is_open_to(request)).collect()
    }
}

impl<'a> Way<'a> {
    fn new(service: &'a Service, route: &'a Route, path: &'a str) -> Result<Self, NoPattern> {
        let read = |pattern: &str| {
            Regex::new(pattern).map_err(|source| NoPattern {
                route: route.name.clone(),
                pattern: pattern.to_owned(),
                source,
            })
        };
        let matcher = match path.strip_prefix(PATTERN) {
            // Patterns are bound to the beginning of the path.
            Some(pattern) => Matcher::Pattern(read(&format!("^(?:{pattern})"))?),
            None => Matcher::Plain(path),
        };
        let mut headers = Vec::new();
        for (name, values) in &route.headers {
            let values = values.iter().map(|value| {
                let pattern = value.strip_prefix(HEADER_PATTERN);
                pattern.map_or(Ok(Matcher::Plain(value)), |pattern| {
                    Ok(Matcher::Pattern(read(pattern)?))
                })
            });
            headers.push((name.as_str(), values.collect::<Result<_, _>>()?));
        }
        // Kong knows no length of a pattern.
        let rank = match matcher {
            Matcher::Pattern(_) => (headers.len(), true, 0),
            Matcher::Plain(_) => (headers.len(), false, path.len()),
        };
        Ok(Self {
            service,
            route,
            path,
            matcher,
            headers,
            rank,
        })
    }

    /// Tells whether Kong's rules prefer neither of two.
    pub fn ties_with(&self, other: &Self) -> bool {
        self.rank == other.rank
    }

    /// Routes of ours look at no header but `Authorization`; a condition on another never holds.
    fn is_open_to(&self, request: Request<'_>) -> bool {
        let path = match &self.matcher {
            Matcher::Pattern(pattern) => pattern.is_match(request.path),
            Matcher::Plain(prefix) => request.path.starts_with(prefix),
        };
        path && self.headers.iter().all(|(name, values)| {
            let sent = name
                .eq_ignore_ascii_case("authorization")
                .then_some(request.authorization)
                .flatten();
            sent.is_some_and(|sent| values.iter().any(|value| value.holds(sent)))
        })
    }
}

impl Matcher<'_> {
    /// Tells whether the value of a header is the one that is asked for.
    fn holds(&self, sent: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_match(sent),
            Self::Plain(value) => value.eq_ignore_ascii_case(sent),
        }
    }
}
