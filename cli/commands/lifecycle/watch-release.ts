/** `tenure releases watch`: follows a release to its end. Redraws in place on a terminal, and prints line by line elsewhere. */
import { path } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { follow } from '../follow.ts'
import { findReleaseId } from './find-release.ts'
import { stageLine, watchLines, type WatchedRelease } from './release-track.ts'

/** The number of verdicts to read for the evidence. */
const readVerdicts = 50

export const watchRelease: CommandSpec = {
  name: 'watch <release>',
  summary: 'Follow a release to its end: stages and evidence; exit code 6 unless the version is promoted',
  examples: ['releases watch rel_01h…', 'releases watch flight-delay', 'releases watch iris --json'],
  async run({ terminal, api }, { args }) {
    const id = await findReleaseId(api(), String(args[0]))
    let said = ''
    const ended = await follow(
      terminal,
      () => api().get<WatchedRelease>(path`/v1/releases/${id}`, { limit: readVerdicts }),
      ({ outcome }) => outcome !== undefined,
      (release) => {
        if (terminal.interactive) return terminal.live(watchLines(terminal, release))
        const line = stageLine(release)
        if (line !== said) terminal.say(line)
        said = line
      },
    )
    const { version, outcome = '', reason = '' } = ended
    terminal.answer(
      ended,
      terminal.interactive ? watchLines(terminal, ended).join('\n') : `${version}: ${outcome} (${reason})`,
    )
    return outcome === 'promoted' ? exitCodes.done : exitCodes.otherwise
  },
}
