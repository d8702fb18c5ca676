"""`python -m backup_agent` is `backup-agent`."""

from backup_agent.cli import main

if __name__ == "__main__":
    main()
