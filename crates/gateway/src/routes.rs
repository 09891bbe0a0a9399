//! All public routes on one screen.

use crate::model::{
    Admission::{Credential, Open},
    Class::{Inference, Login, Ordinary, Page},
    Entry::{Backend, BackendStreaming, OllamaProxy},
    Paths::{Below, Exact, Shaped},
    Route,
};

/// Every public route. `/api/` of Ollama lies below `/ollama/`, so that it never meets our own.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    Route { name: "health",        paths: Exact(&["/health", "/api/health", "/api/v1/health"]),     entry: Backend,          admission: Open,       class: Page,      strips: false },
    Route { name: "openapi",       paths: Exact(&["/openapi.json"]),                                entry: Backend,          admission: Open,       class: Page,      strips: false },
    Route { name: "docs",          paths: Below(&["/docs", "/redoc"]),                              entry: Backend,          admission: Open,       class: Page,      strips: false },
    Route { name: "jwks",          paths: Exact(&["/.well-known/jwks.json", "/api/v1/auth/jwks"]),  entry: Backend,          admission: Open,       class: Page,      strips: false },
    Route { name: "login",         paths: Exact(&["/api/v1/auth/login"]),                           entry: Backend,          admission: Open,       class: Login,     strips: false },
    Route { name: "auth",          paths: Below(&["/api/v1/auth"]),                                 entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "agents",        paths: Below(&["/api/v1/agents"]),                               entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "models",        paths: Below(&["/api/v1/models"]),                               entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "system",        paths: Below(&["/api/v1/system"]),                               entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "cache",         paths: Below(&["/api/v1/cache"]),                                entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "breakers",      paths: Below(&["/api/v1/circuit-breaker"]),                      entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "tasks",         paths: Below(&["/api/v1/tasks"]),                                entry: Backend,          admission: Credential, class: Ordinary,  strips: false },
    Route { name: "task-events",   paths: Shaped("/api/v1/tasks/*/events"),                         entry: BackendStreaming, admission: Credential, class: Ordinary,  strips: false },
    // As a whole: a gateway does not see in the body whether an answer streams.
    Route { name: "chat",          paths: Below(&["/api/v1/chat"]),                                 entry: BackendStreaming, admission: Credential, class: Inference, strips: false },
    Route { name: "openai",        paths: Below(&["/v1/"]),                                         entry: OllamaProxy,      admission: Credential, class: Inference, strips: false },
    Route { name: "ollama",        paths: Below(&["/ollama/"]),                                     entry: OllamaProxy,      admission: Credential, class: Inference, strips: true },
];
