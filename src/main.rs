fn main() -> std::process::ExitCode {
    trackalert::main()
}
