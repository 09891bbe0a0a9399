//! What the OpenAPI document says beside the routes themselves.

use serde_json::json;
use sutazai_auth::Permission;
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi,
    OpenApiBuilder, PathItem, Paths, Ref, RefOr, Response, ResponseBuilder,
    extensions::ExtensionsBuilder,
    path::{HttpMethod, Operation, OperationBuilder, ParameterIn},
    schema::{ArrayBuilder, ObjectBuilder, Schema, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    tag::{Tag, TagBuilder},
};

const BEARER: &str = "bearer";
const PROBLEM: &str = "Problem";
const HEALTH: &str = "Health";
const PROBLEM_TYPE: &str = "application/problem+json";

/// Begins the document; the routes add themselves.
pub(super) fn document() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("SutazAI API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Chat with models, run durable tasks, see agents.\n\nSend `Authorization: \
                     Bearer` with a token of `POST /api/v1/auth/login` or with an API key. Every \
                     error is a problem document (RFC 9457) whose `code` is stable; `/docs/errors` \
                     explains each. Lists come in pages: follow `next_cursor` or the `Link` header.",
                ))
                .license(Some(
                    LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
                ))
                .build(),
        )
        .tags(Some(tags()))
        .components(Some(components()))
        .paths(health())
        .build()
}

#[rustfmt::skip]
fn tags() -> Vec<Tag> {
    [
        ("chat", "Questions, answers and conversations."),
        ("models", "The models of all nodes."),
        ("tasks", "Durable work: submitted once, followed to its end."),
        ("agents", "Who works here and what they can do."),
        ("auth", "Tokens, API keys and public keys."),
        ("system", "How the platform stands."),
        ("circuit-breaker", "What is left alone because it failed, and an operator's hand on it."),
        ("health", "Whether this process serves."),
    ]
    .map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build())
    .into()
}

fn components() -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of `POST /api/v1/auth/login`, or an API key."));
    ComponentsBuilder::new()
        .security_scheme(BEARER, SecurityScheme::Http(bearer.build()))
        .schema(PROBLEM, problem())
        .schema(HEALTH, health_schema())
        .build()
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

fn number(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some(description))
}

fn texts(description: &str) -> ObjectBuilder {
    let any = ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .description(Some(description))
        .additional_properties(Some(any))
}

fn problem() -> Schema {
    let fault = ObjectBuilder::new()
        .property(
            "pointer",
            text("JSON Pointer into the body, or name of a parameter or header."),
        )
        .property("detail", text("What is wrong and what is expected."))
        .required("pointer")
        .required("detail");
    let problem = ObjectBuilder::new()
        .description(Some("An error (RFC 9457)."))
        .property("type", text("Leads to the description of `code`."))
        .property(
            "title",
            text("The same for every occurrence of the status."),
        )
        .property("status", number("HTTP status."))
        .property("detail", text("What happened this time."))
        .property("code", text("Stable snake_case name of what happened."))
        .property("instance", text("Path of the request."))
        .property("request_id", text("The `X-Request-Id` of the request."))
        .property(
            "trace_id",
            text("W3C trace id, for whoever reads the logs."),
        )
        .property("errors", ArrayBuilder::new().items(fault))
        .property(
            "retry_after_seconds",
            number("Seconds after which it may work."),
        )
        .property("facts", texts("Further facts by name."))
        .examples([json!({
            "type": "/docs/errors#model_not_found",
            "title": "Not Found",
            "status": 404,
            "detail": "model `tinylama` is not on any node",
            "code": "model_not_found",
            "instance": "/api/v1/chat",
            "facts": { "near_names": "tinyllama" },
        })]);
    let required = ["type", "title", "status", "detail", "code"];
    required
        .into_iter()
        .fold(problem, ObjectBuilder::required)
        .build()
        .into()
}

fn health_schema() -> Schema {
    ObjectBuilder::new()
        .description(Some(
            "Whether this process serves, and how its parts stand.",
        ))
        .property("status", text("`ok`, `degraded` or `unavailable`."))
        .property("services", texts("State of each part by name."))
        .property("version", text("Version of the running platform."))
        .property("uptime_seconds", number("Seconds since the start."))
        .required("status")
        .required("services")
        .build()
        .into()
}

/// Describes the routes that every service has; the runtime serves them.
fn health() -> Paths {
    let mut paths = Paths::new();
    for (path, id) in [
        ("/health", "get_health"),
        ("/api/health", "get_api_health"),
        ("/api/v1/health", "get_api_v1_health"),
    ] {
        let answer = |description: &str| {
            let health = ContentBuilder::new().schema(Some(Ref::from_schema_name(HEALTH)));
            ResponseBuilder::new()
                .description(description)
                .content("application/json", health.build())
        };
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tag("health")
            .summary(Some("Tells whether this process serves."))
            .response(
                "200",
                answer("It serves; `degraded` when an optional part is down"),
            )
            .response("503", answer("A required part is down"));
        let mut item = PathItem::new(HttpMethod::Get, operation);
        each(&mut item, finish_public);
        paths.paths.insert(path.to_owned(), item);
    }
    paths
}

/// Completes operations that need no credential.
pub(super) fn open(paths: &mut Paths) {
    paths
        .paths
        .values_mut()
        .for_each(|item| each(item, finish_public));
}

/// Tells whether an operation reads parameters of the query.
pub(super) fn reads_query(paths: &Paths) -> bool {
    let items = paths.paths.values();
    let operations = items.flat_map(|item| [&item.get, &item.post, &item.delete]);
    let mut parameters = operations
        .flatten()
        .flat_map(|operation| operation.parameters.iter().flatten());
    parameters.any(
        |parameter| matches!(parameter, RefOr::T(one) if one.parameter_in == ParameterIn::Query),
    )
}

/// Completes operations that need a credential, and perhaps a permission.
pub(super) fn guarded(paths: &mut Paths, permission: Option<Permission>) {
    for item in paths.paths.values_mut() {
        each(item, |operation| {
            operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
            respond(operation, "401", "No credential, or one that does not hold");
            respond(
                operation,
                "429",
                "The caller asks too often, or too many wait",
            );
            if let Some(permission) = permission {
                respond(operation, "403", "The credential does not allow this");
                operation.extensions = Some(
                    ExtensionsBuilder::new()
                        .add("x-permission", permission.as_str())
                        .build(),
                );
            }
            finish(operation);
        });
    }
}

fn finish_public(operation: &mut Operation) {
    // An empty list says that no credential is needed, rather than nothing at all.
    operation.security = Some(Vec::new());
    finish(operation);
}

/// Gives every error the same body.
fn finish(operation: &mut Operation) {
    respond(operation, "default", "Any other error");
    for (status, response) in &mut operation.responses.responses {
        let is_error = status == "default" || status.starts_with(['4', '5']);
        if let (true, RefOr::T(response)) = (is_error, response)
            && response.content.is_empty()
        {
            let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM)));
            response
                .content
                .insert(PROBLEM_TYPE.to_owned(), body.build().into());
        }
    }
}

fn respond(operation: &mut Operation, status: &str, description: &str) {
    let responses = &mut operation.responses.responses;
    responses
        .entry(status.to_owned())
        .or_insert_with(|| RefOr::T(Response::new(description)));
}

fn each(item: &mut PathItem, change: impl FnMut(&mut Operation)) {
    let operations = [&mut item.get, &mut item.post, &mut item.delete];
    operations.into_iter().flatten().for_each(change);
}
