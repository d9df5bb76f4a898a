//! Remotes over ssh: which program reaches them (remotes §2, §3).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use gannet_core::Uuid;

use super::line::Program;

/// Where a repository is that is reached over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshUrl {
    /// Who to log in as; ssh knows when this is not said.
    user: Option<Vec<u8>>,
    host: Vec<u8>,
    port: Option<u16>,
    /// As the far shell is told: absolute, or beginning with `/~`.
    path: Vec<u8>,
}

/// Text that is no such url, or one that must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSshUrl {
    /// It is a path, or a url of another kind.
    #[error("not the address of a repository over ssh")]
    Other,
    /// No host, or no path.
    #[error("the address needs a host and a path")]
    Incomplete,
    /// The port is no number.
    #[error("the port is no number")]
    Port,
    /// ssh would take the name for an option.
    #[error("a host or user must not begin with `-`")]
    Option,
}

impl SshUrl {
    /// Reads `ssh://[user@]host[:port]/path` (also `git+ssh`, `ssh+git`) or `[user@]host:path`.
    ///
    /// # Errors
    /// When it is something else, or dangerous.
    pub fn parse(text: &[u8]) -> Result<Self, BadSshUrl> {
        let schemes: [&[u8]; 3] = [b"ssh://", b"git+ssh://", b"ssh+git://"];
        let url = match schemes.iter().find_map(|scheme| text.strip_prefix(*scheme)) {
            Some(rest) => Self::parse_url(rest)?,
            None if text.windows(2).any(|two| two == b"//") => return Err(BadSshUrl::Other),
            None => Self::parse_scp(text)?,
        };
        if url.host.is_empty() || url.path.is_empty() {
            return Err(BadSshUrl::Incomplete);
        }
        let is_option = |name: &[u8]| name.starts_with(b"-");
        if is_option(&url.host) || url.user.as_deref().is_some_and(is_option) {
            return Err(BadSshUrl::Option);
        }
        Ok(url)
    }

    fn parse_url(rest: &[u8]) -> Result<Self, BadSshUrl> {
        let slash = rest.iter().position(|&byte| byte == b'/').ok_or(BadSshUrl::Incomplete)?;
        let (authority, path) = rest.split_at(slash);
        let (user, host) = split_user(authority);
        let after_bracket = match host.iter().position(|&byte| byte == b']') {
            Some(end) if host.starts_with(b"[") => end,
            _ => 0,
        };
        let colon = host[after_bracket..].iter().position(|&byte| byte == b':');
        let (host, port) = match colon.map(|colon| colon + after_bracket) {
            Some(colon) => (&host[..colon], &host[colon + 1..]),
            None => (host, &b""[..]),
        };
        let port = match port {
            b"" => None,
            digits => {
                let digits = std::str::from_utf8(digits).map_err(|_| BadSshUrl::Port)?;
                Some(digits.parse().map_err(|_| BadSshUrl::Port)?)
            }
        };
        let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
        Ok(Self { user: user.map(decoded), host: decoded(host), port, path: decoded(path) })
    }

    fn parse_scp(text: &[u8]) -> Result<Self, BadSshUrl> {
        let after_bracket = match text.windows(2).position(|two| two == b"]:") {
            Some(end) if text.contains(&b'[') => end,
            _ => 0,
        };
        let colon = text[after_bracket..].iter().position(|&byte| byte == b':');
        let colon = colon.ok_or(BadSshUrl::Other)? + after_bracket;
        // A slash before the colon: a path that has a colon in it.
        if text[..colon].contains(&b'/') {
            return Err(BadSshUrl::Other);
        }
        let (user, host) = split_user(&text[..colon]);
        let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
        let path = match &text[colon + 1..] {
            path @ ([b'/', ..] | []) => path.to_vec(),
            path @ [b'~', ..] => [b"/", path].concat(),
            path => [b"/~/", path].concat(),
        };
        Ok(Self { user: user.map(<[u8]>::to_vec), host: host.to_vec(), port: None, path })
    }

    fn destination(&self) -> OsString {
        OsString::from_vec(match &self.user {
            Some(user) => [user, &b"@"[..], &self.host].concat(),
            None => self.host.clone(),
        })
    }
}

impl fmt::Display for SshUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", String::from_utf8_lossy(user))?;
        }
        let host = String::from_utf8_lossy(&self.host);
        match host.contains(':') {
            true => write!(f, "[{host}]")?,
            false => f.write_str(&host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&String::from_utf8_lossy(&self.path))
    }
}

/// Which program is ssh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SshCommand {
    /// `ssh`, as the path finds it.
    #[default]
    Ssh,
    /// A program that takes the same arguments (`GIT_SSH`).
    Program(OsString),
    /// The beginning of a command for the shell (`GIT_SSH_COMMAND`, `core.sshCommand`).
    Shell(OsString),
}

impl SshCommand {
    /// What git would use, which people set up for the same hosts: `GIT_SSH_COMMAND`, then
    /// `core.sshCommand`, then `GIT_SSH`.
    #[must_use]
    pub fn of_git(
        variable: impl Fn(&str) -> Option<OsString>,
        core_ssh_command: Option<OsString>,
    ) -> Self {
        let set = |text: &OsString| !text.is_empty();
        if let Some(command) = variable("GIT_SSH_COMMAND").filter(set).or(core_ssh_command) {
            return Self::Shell(command);
        }
        variable("GIT_SSH").filter(set).map_or(Self::Ssh, Self::Program)
    }
}

/// How a remote is reached, apart from where it is.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// Which program is ssh.
    pub command: SshCommand,
    /// Arguments for it (`remote.NAME.annex-ssh-options`).
    pub options: Vec<OsString>,
    /// What to run at the other end (`remote.NAME.annex-shell`); may have arguments.
    pub annex_shell: OsString,
    /// Nobody is there who could be asked for a password, or whether a host is trusted.
    pub unattended: bool,
}

impl SshOptions {
    /// What the environment and git's configuration say of the remote called `name`. Its own
    /// settings (`remote.NAME.annex-…`) come before those for all (`annex.…`).
    #[must_use]
    pub fn of_remote(
        name: &str,
        variable: impl Fn(&str) -> Option<OsString>,
        setting: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let annex = |what: &str| {
            let own = setting(&format!("remote.{name}.annex-{what}"));
            own.or_else(|| setting(&format!("annex.{what}")))
        };
        let words = annex("ssh-options").unwrap_or_default();
        let words = words.as_bytes().split(u8::is_ascii_whitespace);
        let words = words.filter(|word| !word.is_empty());
        Self {
            command: SshCommand::of_git(variable, setting("core.sshCommand")),
            options: words.map(|word| OsStr::from_bytes(word).to_owned()).collect(),
            annex_shell: annex("shell").unwrap_or_else(|| NAME.into()),
            unattended: true,
        }
    }
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            command: SshCommand::Ssh,
            options: Vec::new(),
            annex_shell: NAME.into(),
            unattended: true,
        }
    }
}

/// The program that connects to the repository `server` at `url` on behalf of `client`.
///
/// Connections are shared as the user's ssh is configured to (`ControlMaster`). A master without
/// `ControlPersist` ends with the connection that it was begun for, and breaks the others.
#[must_use]
pub fn program(url: &SshUrl, options: &SshOptions, client: &Uuid, server: &Uuid) -> Program {
    let words = [&b"p2pstdio"[..], &url.path, client.as_str().as_bytes()];
    running(url, options, &words, Some(server))
}

/// The program that has the repository at `url` say, on its standard output, what its uuid is: a line
/// `annex.uuid=UUID`.
#[must_use]
pub fn config_list(url: &SshUrl, options: &SshOptions) -> Program {
    running(url, options, &[b"configlist", &url.path], None)
}

/// The program that runs these words at the other end, the first one a command of git-annex-shell.
fn running(url: &SshUrl, options: &SshOptions, words: &[&[u8]], server: Option<&Uuid>) -> Program {
    let mut arguments = vec![url.destination()];
    if options.unattended {
        arguments.extend(["-o".into(), "BatchMode=yes".into()]);
    }
    arguments.extend(options.options.iter().cloned());
    if let Some(port) = url.port {
        arguments.extend(["-p".into(), port.to_string().into()]);
    }
    arguments.push("-T".into());
    let mut command = options.annex_shell.clone();
    for word in words {
        command.push(" ");
        command.push(OsStr::from_bytes(&quoted(word)));
    }
    if let Some(server) = server {
        command.push(" --uuid ");
        command.push(OsStr::from_bytes(&uuid_word(server)));
    }
    arguments.push(command);
    let program = match &options.command {
        SshCommand::Ssh => "ssh".into(),
        SshCommand::Program(program) => program.clone(),
        SshCommand::Shell(line) => {
            let mut line = line.clone();
            line.push(" \"$@\"");
            arguments.splice(0..0, ["-c".into(), line, "ssh".into()]);
            "sh".into()
        }
    };
    let (name, attended) = (url.to_string(), !options.unattended);
    Program { name, program, arguments, environment: Vec::new(), attended }
}

/// As the reference writes it, bare, unless a shell could find something to do in it: whoever may
/// push to a gateway can write into `proxy.log` which uuids are behind it.
fn uuid_word(uuid: &Uuid) -> Vec<u8> {
    let word = uuid.as_str().as_bytes();
    let is_plain = word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    if is_plain { word.to_vec() } else { quoted(word) }
}

/// Quotes a word for a shell, as the reference does.
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\"'\"'"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn split_user(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match text.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

const NAME: &str = "git-annex-shell";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, String, Option<u16>, String), BadSshUrl> {
        let SshUrl { user, host, port, path } = SshUrl::parse(text.as_bytes())?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(user.unwrap_or_default()), text(host), port, text(path)))
    }

    #[test]
    fn both_forms_are_read() {
        let cases = [
            ("ssh://h/abs/x", "", "h", None, "/abs/x"),
            ("ssh://u@h:22/~/x", "u", "h", Some(22), "/~/x"),
            ("git+ssh://h/a%20b", "", "h", None, "/a b"),
            ("ssh+git://u%40v@h/x", "u@v", "h", None, "/x"),
            ("ssh://[::1]:2222/x", "", "::1", Some(2222), "/x"),
            ("ssh://[::1]/x", "", "::1", None, "/x"),
            ("u@h:/abs", "u", "h", None, "/abs"),
            ("h:rel/x", "", "h", None, "/~/rel/x"),
            ("h:~/x", "", "h", None, "/~/x"),
            ("h:~bob/x", "", "h", None, "/~bob/x"),
            ("u@[::1]:x", "u", "::1", None, "/~/x"),
        ];
        for (text, user, host, port, path) in cases {
            let expected = (user.to_owned(), host.to_owned(), port, path.to_owned());
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        let cases = [
            ("/path", BadSshUrl::Other),
            ("./a:b", BadSshUrl::Other),
            ("path", BadSshUrl::Other),
            ("http://h/x", BadSshUrl::Other),
            ("ssh://h", BadSshUrl::Incomplete),
            ("ssh:///x", BadSshUrl::Incomplete),
            ("h:", BadSshUrl::Incomplete),
            ("ssh://h:port/x", BadSshUrl::Port),
            ("ssh://-oProxyCommand=x/x", BadSshUrl::Option),
            ("ssh://-l@h/x", BadSshUrl::Option),
            ("-oProxyCommand=x:y", BadSshUrl::Option),
            ("ssh://%2doProxyCommand=x/x", BadSshUrl::Option),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_that_of_the_reference() {
        let url = SshUrl::parse(b"ssh://u@h:9722/it's here").unwrap();
        let uuid = |text: &str| Uuid::parse(text.as_bytes()).unwrap();
        let mut options = SshOptions {
            options: vec!["-o".into(), "Compression=no".into()],
            unattended: false,
            ..SshOptions::default()
        };
        let made = program(&url, &options, &uuid("c-1"), &uuid("s-1"));
        let command = "git-annex-shell 'p2pstdio' '/it'\"'\"'s here' 'c-1' --uuid s-1";
        let expected = ["u@h", "-o", "Compression=no", "-p", "9722", "-T", command];
        assert_eq!(
            (made.program.to_str(), made.arguments),
            (Some("ssh"), expected.map(OsString::from).to_vec())
        );
        assert_eq!(made.name, "ssh://u@h:9722/it's here");
        (options.command, options.annex_shell) =
            (SshCommand::Shell("ssh -v".into()), "gannet shell".into());
        options.unattended = true;
        let made = program(&url, &options, &uuid("c-1"), &uuid("s-1"));
        assert_eq!(made.program, "sh");
        assert_eq!(
            made.arguments[..6],
            ["-c", "ssh -v \"$@\"", "ssh", "u@h", "-o", "BatchMode=yes"]
        );
        assert!(made.arguments.last().unwrap().to_str().unwrap().starts_with("gannet shell 'p2p"));
    }

    #[test]
    fn nothing_in_it_is_for_the_far_shell() {
        let url = SshUrl::parse(b"ssh://h/$(echo`echo'").unwrap();
        let options = SshOptions { annex_shell: "printf %s,".into(), ..SshOptions::default() };
        for evil in ["x;echo,evil", "$(echo)", "`echo`", "a'b", "a&b|c>d", "*", "~", "\\"] {
            let uuid = Uuid::parse(evil.as_bytes()).unwrap();
            let made = program(&url, &options, &uuid, &uuid);
            let mut shell = std::process::Command::new("sh");
            let said = shell.arg("-c").arg(made.arguments.last().unwrap()).output().unwrap();
            let expected = format!("p2pstdio,/$(echo`echo',{evil},--uuid,{evil},");
            assert_eq!(String::from_utf8(said.stdout).unwrap(), expected);
        }
    }

    #[test]
    fn a_remote_comes_before_all() {
        let settings = [
            ("remote.r.annex-ssh-options", "-o  A=b\t-C"),
            ("annex.ssh-options", "-v"),
            ("annex.shell", "all --shells"),
            ("core.sshCommand", "ssh -4"),
        ];
        let setting = |name: &str| {
            settings.iter().find(|(found, _)| *found == name).map(|(_, text)| (*text).into())
        };
        let of_remote = SshOptions::of_remote("r", |_| None, setting);
        assert_eq!(of_remote.options, ["-o", "A=b", "-C"]);
        assert_eq!(of_remote.annex_shell, "all --shells");
        assert_eq!(of_remote.command, SshCommand::Shell("ssh -4".into()));
        assert_eq!(SshOptions::of_remote("other", |_| None, setting).options, ["-v"]);
        let nothing = SshOptions::of_remote("r", |_| None, |_| None);
        assert_eq!((nothing.options.len(), nothing.annex_shell), (0, NAME.into()));
    }

    #[test]
    fn git_is_followed_in_what_ssh_is() {
        let of_git = |variables: &[(&str, &str)], core: Option<&str>| {
            let find = |name: &str| {
                variables.iter().find(|(found, _)| *found == name).map(|(_, text)| (*text).into())
            };
            SshCommand::of_git(find, core.map(OsString::from))
        };
        let (command, core, program) = ("GIT_SSH_COMMAND", Some("c"), "GIT_SSH");
        assert_eq!(of_git(&[], None), SshCommand::Ssh);
        assert_eq!(of_git(&[(program, "p")], None), SshCommand::Program("p".into()));
        assert_eq!(of_git(&[(program, "p")], core), SshCommand::Shell("c".into()));
        assert_eq!(of_git(&[(command, "e")], core), SshCommand::Shell("e".into()));
        assert_eq!(of_git(&[(command, "")], core), SshCommand::Shell("c".into()));
    }
}
