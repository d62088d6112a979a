from lettabox.cli import main

main()
