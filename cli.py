from censor.cli import main

main()
