use super::*;

/// Reads a table's cell: one letter per right, `-` where it is missing.
fn letters(mode: Mode) -> String {
    [(mode.read, 'r'), (mode.write, 'w'), (mode.remove, 'd'), (mode.lock, 'l')]
        .map(|(right, letter)| if right { letter } else { '-' })
        .iter()
        .collect()
}

fn environment() -> Vec<(OsString, OsString)> {
    [
        ("GIT_ANNEX_P2PHTTP_PASSWORD_full", "sesame"),
        ("GIT_ANNEX_P2PHTTP_PASSWORD_reader", "pass:word"),
        ("GIT_ANNEX_P2PHTTP_PERMISSIONS_reader", "readonly"),
        ("GIT_ANNEX_P2PHTTP_PASSWORD_adder", "\u{fc}ber"),
        ("GIT_ANNEX_P2PHTTP_PERMISSIONS_adder", "appendonly"),
        ("PATH", "/bin"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec()
}

fn access(policy: Policy) -> Access {
    Access::new(policy, environment(), [7; 32]).unwrap()
}

fn login(user: &str, password: &str) -> Login {
    Login { user: user.into(), password: password.into() }
}

/// The options as they are in the table of p2p-http §5.
fn policy(options: &str) -> Policy {
    Policy {
        wide_open: options.contains("wideopen"),
        unauth_read_only: options.contains("readonly"),
        unauth_append_only: options.contains("appendonly"),
        unauth_no_locking: options.contains("nolocking"),
        log_in: options.contains("auth-users"),
    }
}

#[test]
fn rights_are_those_of_the_table() {
    // Options; then nobody, full user, readonly user, appendonly user, wrong password.
    let table = [
        ("wideopen", ["rwdl", "rwdl", "rwdl", "rwdl", "rwdl"]),
        ("wideopen nolocking", ["rwd-", "rwd-", "rwd-", "rwd-", "rwd-"]),
        ("readonly", ["r--l", "r--l", "r--l", "r--l", "r--l"]),
        ("readonly nolocking", ["r---", "r---", "r---", "r---", "r---"]),
        ("appendonly", ["rw-l", "rw-l", "rw-l", "rw-l", "rw-l"]),
        ("appendonly nolocking", ["rw--", "rw--", "rw--", "rw--", "rw--"]),
        ("readonly appendonly", ["rw-l", "rw-l", "rw-l", "rw-l", "rw-l"]),
        ("auth-users", ["----", "rwdl", "r--l", "rw-l", "----"]),
        ("auth-users nolocking", ["----", "rwdl", "r---", "rw-l", "----"]),
        ("auth-users readonly", ["r--l", "rwdl", "r--l", "rw-l", "r--l"]),
        ("auth-users readonly nolocking", ["r---", "rwdl", "r---", "rw-l", "r---"]),
        ("auth-users appendonly", ["rw-l", "rwdl", "rw-l", "rw-l", "rw-l"]),
        ("auth-users appendonly nolocking", ["rw--", "rwdl", "rw--", "rw-l", "rw--"]),
        ("auth-users wideopen", ["rwdl", "rwdl", "rwdl", "rwdl", "rwdl"]),
        ("auth-users wideopen nolocking", ["rwd-", "rwdl", "rwd-", "rwdl", "rwd-"]),
    ];
    let logins = [
        None,
        Some(login("full", "sesame")),
        Some(login("reader", "pass:word")),
        Some(login("adder", "\u{fc}ber")),
        Some(login("full", "wrong")),
    ];
    for (options, expected) in table {
        let access = access(policy(options));
        for (login, expected) in logins.iter().zip(expected) {
            let rights = access.rights(login.as_ref());
            let who = login.as_ref().map(|login| String::from_utf8_lossy(&login.user));
            assert_eq!(letters(rights.mode), expected, "{options}, {who:?}");
        }
    }
}

#[test]
fn a_wrong_login_is_told_from_none() {
    let access = access(policy("auth-users readonly"));
    let standing = |login: Option<Login>| access.rights(login.as_ref()).standing;
    assert_eq!(standing(None), Standing::Anonymous);
    assert_eq!(standing(Some(login("full", "sesame"))), Standing::Accepted);
    let wrong = [
        ("full", "Sesame"),
        ("full", "sesame "),
        ("full", "sesam"),
        ("full", ""),
        ("Full", "sesame"),
        ("nobody", "sesame"),
        ("", ""),
        ("reader", "sesame"),
        // The border between name and password counts.
        ("fulls", "esame"),
    ];
    for (user, password) in wrong {
        assert_eq!(standing(Some(login(user, password))), Standing::Wrong, "{user}:{password}");
    }
    assert!(access.rights(None).can_login);
}

#[test]
fn where_nobody_can_log_in_a_login_counts_as_none() {
    for options in ["readonly", "wideopen"] {
        let rights = access(policy(options)).rights(Some(&login("full", "wrong")));
        assert_eq!(rights.standing, Standing::Anonymous, "{options}");
        assert!(!rights.can_login, "{options}");
    }
    let nobody = Access::new(policy("auth-users"), Vec::new(), [7; 32]).unwrap();
    assert!(!nobody.rights(None).can_login);
}

#[test]
fn unknown_permissions_and_useless_passwords_are_refused_by_name() {
    let refusal = |name: &str, value: &str| {
        let mut environment = environment();
        environment.push((name.into(), value.into()));
        Access::new(policy("auth-users"), environment, [7; 32]).err().map(|bad| bad.to_string())
    };
    for word in ["", "readwrite", "ReadOnly", "readonly "] {
        let text = refusal("GIT_ANNEX_P2PHTTP_PERMISSIONS_bob", word).unwrap();
        assert!(text.contains("bob") && text.contains(&format!("`{word}`")), "{text}");
    }
    assert!(refusal("GIT_ANNEX_P2PHTTP_PASSWORD_bob", "").unwrap().contains("bob"));
    assert!(refusal("GIT_ANNEX_P2PHTTP_PASSWORD_b:b", "x").unwrap().contains("b:b"));
    assert_eq!(refusal("GIT_ANNEX_P2PHTTP_PERMISSIONS_bob", "readonly"), None);
}
