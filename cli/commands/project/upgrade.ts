/** `tenure upgrade check`: checks a running installation with the new build, before anything restarts. */
import { exitCodes } from '../../exit-codes.ts'
import type { CommandGroup } from '../../program.ts'

export const upgradeGroup: CommandGroup = {
  name: 'upgrade',
  summary: 'Check whether this build can take over the running installation',
  commands: [
    {
      name: 'check',
      summary:
        'Check whether this build can take over the running installation: replay its workflows, migrate a copy of its database, load its versions, and repeat its last decisions; exit code 6 if not',
      examples: ['upgrade check', 'upgrade check --json'],
      async run({ terminal }) {
        const { checkUpgrade } = await import('../../upgrade/check-upgrade.ts')
        const checked = await checkUpgrade()
        const { migrations, replayed, versions, judged, gates, drift, issues } = checked
        const { pending, rows, seconds } = migrations
        const lines = [
          `workflows    ${replayed.open} open and ${replayed.closed} closed replayed, ${replayed.breaks.length} do not fit`,
          pending.length === 0
            ? 'migrations   none is pending'
            : `migrations   ${pending.join(', ')} on a copy of ${rows} rows, ${seconds.toFixed(1)} s`,
          `versions     ${versions.opened} loaded, ${versions.refused.length} refused` +
            (versions.notComparable.length === 0
              ? ''
              : `; not comparable: ${versions.notComparable.join('; ')}`),
          `judges       ${judged.releases} releases judged again, ${judged.differs.length} differ` +
            (judged.notComparable.length === 0
              ? ''
              : `; not comparable, their counters have changed: ${judged.notComparable.join(', ')}`),
          ...Object.entries({ gates, drift }).map(
            ([name, { judged: count, differs, notComparable }]) =>
              `${name.padEnd(13)}${count} judged again, ${differs.length} differ` +
              (notComparable.length === 0 ? '' : `; not comparable: ${notComparable.join('; ')}`),
          ),
          ...issues.map((issue) => `${terminal.paint('red', '✗')} ${issue}`),
          issues.length === 0
            ? 'This build fits the installation.'
            : 'This build does not fit the installation.',
        ]
        terminal.answer(checked, lines.join('\n'))
        return issues.length === 0 ? exitCodes.done : exitCodes.otherwise
      },
    },
  ],
}
