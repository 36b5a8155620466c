/** Generates the reference page of the command line from the command specs. */
import { commands } from '../../../cli/commands/all-commands.ts'
import { exitCodeHelp } from '../../../cli/exit-codes.ts'
import type { CommandSpec } from '../../../cli/program.ts'
import { markdownCode, markdownTable } from '../../../test/support/docs/markdown-table.ts'

/** Every command, those of a group under both names. */
export const allCommands = (): CommandSpec[] =>
  commands.flatMap((each) =>
    'commands' in each
      ? each.commands.map((command) => ({ ...command, name: `${each.name} ${command.name}` }))
      : [each],
  )

export function commandsPage(): string {
  const all = allCommands()
  return [
    '# The command line',
    '',
    'Type `npx tenure …` in the checkout, or `npm run tenure -- …`; `npm link` puts `tenure` on the PATH. Every command takes',
    '`--json` (one JSON document on the standard output and nothing else), `--wide` (tables in full width on a terminal), `--url <url>` (the API, else `TENURE_URL`, else what',
    'runs on this machine) and `--help`. Colours appear on a terminal only. A result of more than one screen is shown there by the command in `PAGER`, else by',
    '`less`; an empty `PAGER` prints it.',
    '',
    'Times are in the time zone of the terminal (`TZ`, else that of the system), which each output names once; one within the next two hours says in',
    'how many minutes it is. `--json` has ISO 8601 in UTC. A `<time>` is read as it is printed: a day, `"2026-03-01 12:00"`, or `"2026-03-01 12:00 CET"`;',
    'or as ISO 8601 with its zone. Without a zone it is in that of the terminal, and the command says on the standard error output how it has read it (not with `--json`). `restore --at` needs the zone.',
    '',
    '## Exit codes',
    '',
    markdownTable(['code', 'meaning'], exitCodes()),
    '',
    '## Commands',
    '',
    markdownTable(
      ['command', 'summary'],
      all.map(({ name, summary, sameAs }) => [
        `[\`${name}\`](#${anchorOf(sameAs ?? name)})`,
        sameAs === undefined ? summary : `The same as \`${sameAs}\``,
      ]),
    ),
    '',
    ...all.filter(({ sameAs }) => sameAs === undefined).flatMap(sectionOf),
  ].join('\n')
}

function sectionOf({ name, summary, options = [], examples, isDefault }: CommandSpec): string[] {
  const group = name.split(' ')[0] ?? name
  return [
    `### tenure ${name}`,
    '',
    `${summary}.${isDefault === true ? ` Default of \`tenure ${group}\`.` : ''}`,
    '',
    ...(options.length === 0
      ? []
      : [
          markdownTable(
            ['option', 'meaning'],
            options.map(([flags, description]) => [markdownCode(flags), description]),
          ),
          '',
        ]),
    '```sh',
    ...examples.map((each) => (/\btenure /.test(each) ? each : `tenure ${each}`)),
    '```',
    '',
  ]
}

/** Returns the anchor that GitHub generates for a heading. */
const anchorOf = (name: string): string =>
  `tenure ${name}`
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

const exitCodes = (): string[][] =>
  exitCodeHelp
    .split('\n')
    .slice(1)
    .map((line) => /^\s*(\d+)\s+(.+)$/.exec(line))
    .map((found) => [markdownCode(found?.[1] ?? ''), found?.[2] ?? ''])
