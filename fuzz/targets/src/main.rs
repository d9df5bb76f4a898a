//! Writes what the fuzzer begins with: `gannet-fuzz DIR` makes `DIR/TARGET/` for each target.
//! Without an argument it lists the targets.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let written = match env::args_os().nth(1) {
        Some(dir) => write(Path::new(&dir)),
        None => {
            for target in gannet_fuzz::TARGETS {
                println!("{}", target.name);
            }
            Ok(())
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gannet-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &Path) -> io::Result<()> {
    for target in gannet_fuzz::TARGETS {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(dir.join(format!("seed-{number:04}")), seed)?;
        }
    }
    Ok(())
}
