/** `tenure reset`: deletes the state directory of this machine. */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { readCommandConfig } from '../../../temporal.config.ts'
import { usageError } from '../../client/client.ts'
import { openStateDir } from '../../state-dir.ts'
import { claim } from '../../supervisor/pidfile.ts'
import type { CommandSpec } from '../../program.ts'
import { askOnTerminal, isYes, yesOption } from '../confirm.ts'

/** The lock of the set-up, which may be running. */
const kept = ['setup.lock']

export const resetCommand: CommandSpec = {
  name: 'reset',
  summary: 'Delete all versions, releases, records and keys on this machine',
  options: [yesOption],
  examples: ['reset', 'reset --yes'],
  async run({ terminal }, { options }) {
    const config = readCommandConfig()
    const stateDir = openStateDir(config.stateDir)
    const question = `Delete everything in ${stateDir}? [y/N] `
    if (options['yes'] !== true && !isYes(await askOnTerminal(terminal, question)))
      throw usageError(`${stateDir} was not deleted`, 'Add --yes to delete it without confirmation.')
    // Throws while Tenure runs here, and ends the orphans of a killed supervisor.
    const held = await claim(join(stateDir, 'supervisor.json'))
    const names = readdirSync(stateDir).filter((name) => !kept.includes(name))
    for (const name of names) rmSync(join(stateDir, name), { recursive: true, force: true })
    held.release()
    const elsewhere = config.databaseUrl === undefined ? '' : ' The database at DATABASE_URL is unchanged.'
    terminal.answer({ stateDir, deleted: names }, `Deleted the contents of ${stateDir}.${elsewhere}`)
  },
}
