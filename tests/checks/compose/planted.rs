//! One fault at a time, put into the real file: each rule is seen to bite.

use super::{Compose, FILE};

/// What stands in the file, what is put there, and what the fault says.
#[rustfmt::skip]
const PLANTED: &[(&str, &str, &str)] = &[
    ("127.0.0.1:10006:8500", "0.0.0.0:10006:8500", "0.0.0.0:10006"),
    ("127.0.0.1:10110:8000", "127.0.0.1:10120:8000", "10120"),
    ("\n  redis:\n", "\n  keydb:\n", "keydb is neither"),
    ("[sutazai-ai-agent-orchestrator]", "[orchestrator]", "sutazai-ai-agent-orchestrator"),
    ("cpus: \"0.5\", memory: 256M, pids: 64", "cpus: \"0.5\"", "redis has no limit"),
    ("    healthcheck: { <<: *healthy, test: [CMD, kong, health] }\n", "", "kong has no health check"),
    ("  restart: unless-stopped\n", "", "does not say when it starts again"),
    ("  read_only: true\n", "", "writes to its image"),
    ("  cap_drop: [ALL]\n", "", "keeps capabilities"),
    ("\"no-new-privileges:true\"", "\"label:disable\"", "may gain privileges"),
    ("${SUTAZAI_UID:-1000}:", "0:", "runs as root"),
    ("redis:7.4.2-alpine", "redis:latest", "redis:latest"),
    ("hashicorp/consul:1.22.3", "hashicorp/consul:1.21.0", "1.22.3"),
    ("kong:3.9.1", "kong:3.9.0", "3.9.1"),
    ("sutazai:0.1.0", "sutazai:0.0.9", "0.1.0"),
    ("SECRET_KEY_FILE:", "SECRET_KEYS_FILE:", "reads no setting SECRET_KEYS_FILE"),
    ("SECRET_KEY_FILE:", "SECRET_KEY:", "reads no setting SECRET_KEY"),
    ("      ADMIN_PASSWORD_FILE: /run/secrets/admin-password\n", "", "is not given ADMIN_PASSWORD"),
    ("    RABBITMQ_HOST: rabbitmq\n", "", "RABBITMQ_HOST"),
    ("      CONSUL_HTTP_TOKEN_FILE: /run/secrets/consul-backend\n", "", "is not given CONSUL_HTTP_TOKEN"),
    ("[serve, task-coordinator]", "[serve, backend]", "task-coordinator does not run itself"),
    ("${SUTAZAI_GID:-1000}", "${SUTAZAI_GROUP:-1000}", "SUTAZAI_GROUP"),
    ("KONG_DNS_ORDER", "KONG_DNS_ORDERS", "KONG_DNS_ORDERS"),
    ("      KONG_DNS_VALID_TTL: \"5\"\n", "", "KONG_DNS_VALID_TTL"),
    ("POSTGRES_HOST: postgres", "POSTGRES_HOST: database", "database, which is not there"),
    ("http://consul:8500\n    JWKS", "http://backend:8500\n    JWKS", "which Consul finds"),
    ("aliases: [sutazai-redis] }", "aliases: [sutazai-redis] }\n      published: {}", "redis has 2 ways out"),
    ("platform: { aliases: [sutazai-redis] }", "published: { aliases: [sutazai-redis] }", "redis, which it can not reach"),
    ("aliases: [backend.service.consul]", "aliases: [backend.internal]", "backend.service.consul"),
    ("data: { internal: true }", "data: {}", "ways out"),
    ("      published: {}\n    shm_size", "    shm_size", "no way out"),
    ("migrate: { condition: service_completed_successfully }", "migrate: { condition: service_healthy }", "waits for migrate"),
    ("../secrets/admin-password", "../secrets/password", "makes no"),
    ("secrets: [jwks, consul-automation-agent, ", "secrets: [jwks, ", "reads consul-automation-agent"),
    ("      - consul-operator\n", "", "enroll reads consul-operator"),
    ("secrets: [redis-password]", "secrets: [redis-password, jwks]", "redis is given jwks and does not read it"),
    ("source: kong-process", "source: kong-conf", "kong-conf"),
    ("consul:/consul/data", "/var/consul:/consul/data", "has the volume"),
];

#[test]
fn planted_faults_in_the_compose_file_are_found() {
    let repository = crate::repository();
    let text = repository.text(FILE).expect("the compose file");
    for (from, to, found) in PLANTED {
        let planted = text.replacen(from, to, 1);
        assert_ne!(planted, text, "{from} is not in the file");
        let tree = repository.with(FILE, &planted);
        let faults = Compose::read(&tree).faults();
        assert!(
            faults.iter().any(|fault| fault.contains(found)),
            "{to} in place of {from} was not found: {faults:?}"
        );
    }
}
