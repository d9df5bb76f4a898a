use proptest::prelude::*;

use super::*;

#[test]
fn every_backend_agrees_with_git_annex() {
    for (keys, content) in [(HELLO, b"hello\n".to_vec()), (LONG, long())] {
        for text in keys {
            assert_eq!(check(text, &content), Ok(()), "{text}");
            let mut other = content.clone();
            *other.last_mut().unwrap() ^= 1;
            assert!(matches!(check(text, &other), Err(Mismatch::Hash { .. })), "{text}");
        }
    }
}

#[test]
fn the_tables_of_vectors_name_every_backend_plain_and_with_extension() {
    let named = |keys: [&str; 25], suffix: &str| -> Vec<String> {
        let head = |text: &str| text.split('-').next().unwrap().to_owned();
        let name = |text: &str| head(text).strip_suffix(suffix).unwrap().to_owned();
        let mut names: Vec<_> = keys.into_iter().map(name).collect();
        names.sort();
        names
    };
    let mut known: Vec<_> = BACKENDS.iter().map(|backend| backend.name.to_owned()).collect();
    known.sort();
    assert_eq!(named(HELLO, ""), known);
    assert_eq!(named(LONG, "E"), known);
}

#[test]
fn values_of_the_specification() {
    let hello: [&str; 5] = [
        "XXH3-s5--9555e8555c62dcfd",
        "XXH3E-s5--9555e8555c62dcfd.ogg",
        "BLAKE3_256-s5--ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
        "MD5--5d41402abc4b2a76b9719d911017c592",
        "SHA1--aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
    ];
    for text in hello {
        assert_eq!(check(text, b"hello"), Ok(()), "{text}");
    }
    // A digest that begins with a zero keeps it.
    assert_eq!(check("XXH3-s3--0eeec5fe77732349", b"n30"), Ok(()));
    assert_eq!(check("XXH3-s0--2d06800538d394c2", b""), Ok(()));
}

#[test]
fn the_digest_ends_at_the_first_dot() {
    for text in [
        format!("SHA256E-s6--{HELLO_SHA256}.tar.gz"),
        format!("SHA256E-s6--{HELLO_SHA256}."),
        format!("SHA256-s6--{HELLO_SHA256}.txt"),
        format!("SHA256--{HELLO_SHA256}"),
        format!("SHA256E-s6-m5--{HELLO_SHA256}"),
        format!(r"SHA256-s6--\{HELLO_SHA256}"),
        format!(r"SHA256E-s6--\{HELLO_SHA256}.txt"),
    ] {
        assert_eq!(check(&text, b"hello\n"), Ok(()), "{text}");
    }
}

#[test]
fn a_digest_that_is_spelled_otherwise_is_another_digest() {
    for text in [
        format!("SHA256-s6--{}", HELLO_SHA256.to_uppercase()),
        format!(r"SHA256-s6--\\{HELLO_SHA256}"),
        format!("SHA256-s6-- {HELLO_SHA256}"),
        format!("SHA256-s6--.{HELLO_SHA256}"),
        format!("SHA256-s6--{HELLO_SHA256}0"),
        format!("SHA256-s6--{}", &HELLO_SHA256[..63]),
        format!("SHA256-s6--u-{HELLO_SHA256}"),
        "SHA256-s6--".to_owned(),
    ] {
        let actual = HELLO_SHA256.to_owned();
        let expected = Mismatch::Hash { algorithm: "SHA256".to_owned(), actual };
        assert_eq!(check(&text, b"hello\n"), Err(expected), "{text}");
    }
}

#[test]
fn the_size_is_judged_before_the_hash() {
    let text = format!("SHA256-s7--{HELLO_SHA256}");
    assert_eq!(check(&text, b"hello\n"), Err(Mismatch::Size { promised: 7, actual: 6 }));
    assert_eq!(check("WORM-s5-m1--x", b"hello\n"), Err(Mismatch::Size { promised: 5, actual: 6 }));
    assert_eq!(check("WORM-s6-m1--x", b"hello\n"), Ok(()));
    assert_eq!(check("URL--x", b"hello\n"), Ok(()));
}

#[test]
fn a_chunk_key_is_judged_as_the_whole() {
    let chunk = format!("SHA256E-s12-S6-C1--{HELLO_SHA256}");
    assert_eq!(check(&chunk, b"hello\n"), Err(Mismatch::Size { promised: 12, actual: 6 }));
    let chunk = format!("SHA256E-S6-C2--{HELLO_SHA256}");
    assert!(matches!(check(&chunk, b"other\n"), Err(Mismatch::Hash { .. })));
    assert_eq!(strength(&key(&chunk)), Strength::Secure);
}

#[test]
fn a_bundle_is_named_after_its_last_dash() {
    let uuid = "c1c1c1c1-0000-4000-8000-000000000002";
    for text in
        [format!("GITBUNDLE-s6--{uuid}-{HELLO_SHA256}"), format!("GITBUNDLE-s6--{HELLO_SHA256}")]
    {
        assert_eq!(check(&text, b"hello\n"), Ok(()), "{text}");
    }
    for text in [
        format!("GITBUNDLE-s6--{HELLO_SHA256}-{uuid}"),
        format!("GITBUNDLE-s6--{uuid}-{HELLO_SHA256}.x"),
        format!(r"GITBUNDLE-s6--{uuid}-\{HELLO_SHA256}"),
    ] {
        assert!(matches!(check(&text, b"hello\n"), Err(Mismatch::Hash { .. })), "{text}");
    }
}

#[test]
fn strengths_are_those_of_the_specification() {
    let weak = ["SHA1", "SHA1E", "MD5", "MD5E", "XXH3", "XXH3E"];
    for text in HELLO.into_iter().chain(LONG) {
        let name = text.split('-').next().unwrap();
        let expected = if weak.contains(&name) { Strength::Weak } else { Strength::Secure };
        assert_eq!(strength(&key(text)), expected, "{text}");
    }
    assert_eq!(strength(&key("GITBUNDLE--x")), Strength::Secure);
    for name in [
        "WORM",
        "URL",
        "VURL",
        "GITMANIFEST",
        "GITBUNDLEE",
        "XFOO",
        "XFOOE",
        "sha256",
        "SHA256EE",
        "SHA999",
        "E",
        "SHA2",
        "KECCAK256",
        "BLAKE2BP256",
        "WORME",
    ] {
        assert_eq!(strength(&key(&format!("{name}--x"))), Strength::SizeOnly, "{name}");
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_digest(
        content in prop::collection::vec(any::<u8>(), 0..3000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.sort_unstable();
        for backend in &BACKENDS {
            let mut whole = (backend.hash)();
            whole.update(&content);
            let name = whole.hex();
            let key = key(&format!("{}E-s{}--{name}.x", backend.name, content.len()));
            let mut checker = Checker::new(&key);
            let mut start = 0;
            for &cut in cuts.iter().chain([&content.len()]) {
                checker.update(&content[start..cut]);
                start = cut;
            }
            prop_assert_eq!(checker.seen(), content.len() as u64);
            prop_assert_eq!(checker.finish(), Ok(()));
        }
    }
}

fn check(text: &str, content: &[u8]) -> Result<(), Mismatch> {
    let mut checker = Checker::new(&key(text));
    checker.update(content);
    checker.finish()
}

fn key(text: &str) -> Key {
    Key::parse(text.as_bytes()).unwrap()
}

fn long() -> Vec<u8> {
    (0..100_003_u32).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect()
}

const HELLO_SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// Keys of `hello\n`, computed by git-annex.
const HELLO: [&str; 25] = [
    "SHA256-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    "SHA224-s6--2d6d67d91d0badcdd06cbbba1fe11538a68a37ec9c2e26457ceff12b",
    "SHA384-s6--1d0f284efe3edea4b9ca3bd514fa134b17eae361ccc7a1eefeff801b9bd6604e01f21f6bf249ef030599f0c218f2ba8c",
    "SHA512-s6--e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931f94aae41edda2c2b207a36e10f8bcb8d45223e54878f5b316e7ce3b6bc019629",
    "SHA3_256-s6--b314e28493eae9dab57ac4f0c6d887bddbbeb810e900d818395ace558e96516d",
    "SHA3_224-s6--5093b1ea1fed43f347b4bf8f8e61334e751516506e390b0fa67758d3",
    "SHA3_384-s6--459b2844fea6e3a937a8397c0d69c06d9c6c943e155da454c638f5424296e994fd0339ea234367ff014493b51adb9d2e",
    "SHA3_512-s6--ac766ba623301e0ad63c48cb2fc469d10145f65c9f1f28fe761c78c386ed295a1fda1b05e280354e620757d8a83e05a45f66438dd734278668c1c27ac6f27150",
    "SKEIN256-s6--960005f5dfd54a29fd8c2ed5514664d3d746c32a97db1b01505b32eae6bfe4ad",
    "SKEIN512-s6--dac23175722c0c6169f2a39f0ae40375f91f722b1f4ffceacb0a8dbfd3a2fd0dd8ef67fe2382de937abda0665153cd945e3eddddec9c4a260d1a8f619f9d68d4",
    "BLAKE2B160-s6--d2f799bb9610968a2efa8f7682d5f2f1d45163d7",
    "BLAKE2B224-s6--eb59a9e4016b10f439ce44f50564c2d230056bcf01d538b1d2bf6a67",
    "BLAKE2B256-s6--93becc6e9882211c3ec3708c95bcd69baab7bb59c7f4bc84ce637b88a534b783",
    "BLAKE2B384-s6--0c216920d0d97a09fd90d6640d7de13a950bb6bf7655ab49a58ce2db58aa53f50a7a9810f7c7b7a968a70e1ec2f9e64d",
    "BLAKE2B512-s6--f60ce482e5cc1229f39d71313171a8d9f4ca3a87d066bf4b205effb528192a75f14f3271e2c1a90e1de53f275b4d4793eef2f5e31ea90d2ce29d2e481c36435f",
    "BLAKE2S160-s6--89d3241bbf3550d9c7d948399d88c392077330c8",
    "BLAKE2S224-s6--3fa4204d2660a68ee9d5e82e47084bae4f7b23f0513a32ce71d45912",
    "BLAKE2S256-s6--3969b3926654065966b6f8d9a65789b0f76d56e1e2ab67dd94faa770959187ca",
    "BLAKE2BP512-s6--6598ca8cb0c6d2c50be1ae3ce1ec831383fd87ae81d37428d934e73e0cddebaefa2db2fb255d73236543c966f6fd7fc4e0c0ee8158fd7dfd21339fd8a3d88403",
    "BLAKE2SP224-s6--3c6aeeb131fc1ca87f2a0a7db322182e5abcc4622de43e9c8c66ec07",
    "BLAKE2SP256-s6--68505689ed9e9910f32668d51bfc0ec82641936350099accdcda9ab464be1870",
    "BLAKE3_256-s6--8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99",
    "SHA1-s6--f572d396fae9206628714fb2ce00f72e94f2258f",
    "MD5-s6--b1946ac92492d2347c6235b4d2611184",
    "XXH3-s6--99fc819aaba2462a",
];

/// Keys of [`long`], computed by git-annex: many blocks, and every lane of the parallel modes.
const LONG: [&str; 25] = [
    "SHA256E-s100003--d21eb61b232e80a6d41416907c7241c95a5e983f6e1dc8d18b6420a7b7d6cda7",
    "SHA224E-s100003--bc9e26a3d4964c29e39956f28c7b08e39908f661c5faaa37828cb24b",
    "SHA384E-s100003--958131bad5b61a8c72db783684c9a163a8e5179258f7219237c2a2660326ef4b9000c52caf15ea7a0acdbd7abe0a2337",
    "SHA512E-s100003--fce51b24cd07c776ce9d61bff7202d141eedcb98cad250069f53b6ec5e81ea128276fd44dd446da2dc0f9afceb307377d2ee9003fc6fba69065d4f40bc702e21",
    "SHA3_256E-s100003--b5df39ae902d77efc60fb4f3b2b1a6adcae009220ab7ad4882b455062cff3e9c",
    "SHA3_224E-s100003--740c30d132695d0a1444bdc3cff2ec65b27881bd08f108f470b397b9",
    "SHA3_384E-s100003--c3b5dbd0fe19249eb99d4c3a2ba35332a33b35d29e0c1469e9d5f2ce2272cb9669e3a472c95914f90d03e5a86ab0f637",
    "SHA3_512E-s100003--0c15be4d15a048543d7a5bf487d7e96cb3e87cdc2624693e3679225551adc413236901545847e0a113e0ef4dd8dde324223586295ba91408647a720cc0ce4499",
    "SKEIN256E-s100003--e9f02164cdafca4a930028c1444b187a063e9f190027db1ff84fcc1ab4561de1",
    "SKEIN512E-s100003--db92627f61456f38c456a054c0924bca381313622eb397242f9e263d16d88d46959e46af37b3a04e54259421688b9145a56825b3e83f55ee34c486a692675ff7",
    "BLAKE2B160E-s100003--70c03b678be452c159c471798c132d35feb2b162",
    "BLAKE2B224E-s100003--213e1b480eb5e243ba40b2d158cf8ec366b6dfef15a35c7b8b8ff9db",
    "BLAKE2B256E-s100003--0af191b596c51dbc2beadd3d3c02228b4531692fc27c2eb28c93bdd4d427b948",
    "BLAKE2B384E-s100003--8869e29e95a5813c4fbe78d12585907593a105472182f366b5fc8a4c1e1a597b5f1dbce383069b3f36cf1db0e8379850",
    "BLAKE2B512E-s100003--aa6dc7e3c1c35047fd5a11111dd105f307c5be3fd9130c4647959dfb86f6c1f32bec9d18e09bed0ea77718df077f87a42206a57ebb75d35716ca46ad197e8622",
    "BLAKE2S160E-s100003--94f1cd6ee92e17b27759f1875798cb5c8aa320bf",
    "BLAKE2S224E-s100003--f9ebc03dc1dde0ed5e3598717ea3e6e54f66233136e9041485d21091",
    "BLAKE2S256E-s100003--ab960503d0639842047dd0b10a7a598179836407a226e9ea65be7086a2245375",
    "BLAKE2BP512E-s100003--8a277edac54fbc30221e14f8f8389eb883b20c1c35c398c08bcc008be81fce8d9f9b3494f686d2c381cb266da7e6e4637e44290ece440e10b1f614513f148b4e",
    "BLAKE2SP224E-s100003--ed66b4dc1f15adb19eead5f0d0592f37aa8b44e15dcaac62f13a6184",
    "BLAKE2SP256E-s100003--714e57504c0ab52894f4f22b29419c5c185fbd3cb5e3a3209288c1551abd0793",
    "BLAKE3_256E-s100003--2a45d467c9cea8b0f49c042f538445bb579e9c61891ef91f03034f649b161348",
    "SHA1E-s100003--190c7ec8cf865528a10e719dd93ce782f30d9dba",
    "MD5E-s100003--c99a845f64dec61f80b3a13ba2da1ada",
    "XXH3E-s100003--82e3698872464f8c",
];
