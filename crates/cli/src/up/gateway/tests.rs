//! Starting Kong, with planted programs: no real one has been started by these tests.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::site::{folder::Folder, secrets::Secrets};

/// Listens where it is told to as Kong's web server would, until it gets a signal.
const WEB_SERVER_OF_TEST: &str = r#"#!/bin/sh
test "$1 $3 $4" = "-p -c nginx.conf" && test -e "$2/prepared" || exit 1
env | grep ^KONG_ > "$2/told"
exec python3 -c 'import os, http.server as h; a, p = os.environ["KONG_PROXY_LISTEN"].split(":"); h.HTTPServer((a, int(p)), h.SimpleHTTPRequestHandler).serve_forever()'
"#;

struct Machine {
    folder: Folder,
    ports: Ports,
    programs: Programs,
    root: TempDir,
}

impl Machine {
    fn with(kong: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("state"), false).unwrap();
        Secrets::ensure(&folder).unwrap();
        let plant = |name: &str, text: &str| {
            let file = root.path().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let programs = Programs {
            kong: plant(KONG, kong),
            web_server: plant("nginx", WEB_SERVER_OF_TEST),
        };
        Self {
            folder,
            ports: Ports::free().unwrap(),
            programs,
            root,
        }
    }

    async fn start(&self) -> Result<Fresh<&'static str>, Error> {
        let site = Site {
            data: &self.folder.path(""),
            logs: self.root.path(),
            ports: &self.ports,
            dns: 8600,
        };
        site.start(&self.programs).await
    }
}

#[tokio::test]
async fn kong_gets_the_rendered_files_and_ends_with_the_platform() {
    let prepare = "#!/bin/sh\ntest \"$1 $2 $4\" = 'prepare -p -c' && mkdir -p \"$3\" && touch \"$3/prepared\"\n";
    let machine = Machine::with(prepare);
    let (_, _, running) = machine.start().await.unwrap();
    let told = fs::read_to_string(machine.folder.path("kong/told")).unwrap();
    let declaration = machine.folder.path("kong.yml");
    for line in [
        "KONG_NGINX_DAEMON=off".to_owned(),
        format!("KONG_DECLARATIVE_CONFIG={}", declaration.display()),
        format!("KONG_PROXY_LISTEN=127.0.0.1:{}", machine.ports.kong),
        "KONG_DNS_RESOLVER=127.0.0.1:8600".to_owned(),
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "{line} is not in {told}"
        );
    }
    let rendered = fs::read_to_string(declaration).unwrap();
    assert!(rendered.contains("BEGIN PUBLIC KEY"), "{rendered}");
    assert_eq!(
        fs::read_to_string(machine.folder.path("kong.conf")).unwrap(),
        conf::text()
    );
    running.stop().await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, machine.ports.kong)).is_err());
}

#[tokio::test]
async fn a_kong_that_refuses_says_why_and_is_not_kept() {
    let machine = Machine::with("#!/bin/sh\necho 'the settings are wrong'; exit 1\n");
    let refused = machine.start().await.unwrap_err();
    assert!(
        refused.to_string().contains("the settings are wrong"),
        "{refused}"
    );
}
