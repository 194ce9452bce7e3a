"""`prep-shards`: vocabularies, shards from clean documents, mixtures of corpora, and runs less what is to be forgotten.

prep-shards vocabulary train --input corpora-out/ccnews --size 50265 --output vocab.json
prep-shards vocabulary import-gpt2 --encoder encoder.json --merges vocab.bpe --dict dict.txt --output vocab.json
prep-shards encode --input corpora-out/ccnews --vocabulary vocab.json --output shards
prep-shards mix --source corpora-out/ccnews:1 corpora-out/stories:2.5 --output mixed
prep-shards compact corpora-out/growing
prep-shards forget corpora-out/ccnews --url https://example.com/story --domain example.org
"""

import logging
import sys


def main(argv: list[str] | None = None) -> int:
    """Exit 0 done, 1 the data is bad, 2 the command is wrong."""
    logging.getLogger().setLevel(logging.ERROR)  # importing Beam warns of clients that are not needed
    from pipelines import compact_command, encode_command, forget_command, mix_command, vocabulary_command
    from pipelines.command import exit_status
    from pipelines.options import Parser

    parser = Parser(prog="prep-shards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    vocabulary_command.add_vocabulary_parser(commands)
    encode_command.add_encode_parser(commands)
    mix_command.add_mix_parser(commands)
    compact_command.add_compact_parser(commands)
    forget_command.add_forget_parser(commands)
    flags, beam_options = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if beam_options and flags.command not in ("encode", "compact"):
        parser.error(f"unrecognized arguments: {' '.join(beam_options)}")
    flags.beam_options = beam_options
    return exit_status(lambda: flags.handler(flags), name="prep-shards", debug=flags.debug)


if __name__ == "__main__":
    sys.exit(main())
