/** `tenure reset`: deletes the state directory of this machine. */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { readCommandConfig } from '../../../temporal.config.ts'
import { usageError } from '../../client/client.ts'
import { openStateDir } from '../../embedded/state-dir.ts'
import { claim } from '../../supervisor/pidfile.ts'
import type { CommandSpec } from '../../program.ts'

/** The lock of the set-up, which may be running. */
const kept = ['setup.lock']

export const resetCommand: CommandSpec = {
  name: 'reset',
  summary: 'Delete all versions, releases, records and keys on this machine',
  options: [['--yes', 'Do not ask for confirmation']],
  examples: ['reset', 'reset --yes'],
  async run({ terminal }, { options }) {
    const config = readCommandConfig()
    const stateDir = openStateDir(config.stateDir)
    if (options['yes'] !== true && !(await agreed(stateDir, terminal.interactive)))
      throw usageError(`${stateDir} was not deleted`, 'Add --yes to delete it without confirmation.')
    // Refuses while Tenure runs here, and ends the orphans of a killed supervisor.
    const held = await claim(join(stateDir, 'supervisor.json'))
    const names = readdirSync(stateDir).filter((name) => !kept.includes(name))
    for (const name of names) rmSync(join(stateDir, name), { recursive: true, force: true })
    held.release()
    const elsewhere = config.databaseUrl === undefined ? '' : ' The database at DATABASE_URL is unchanged.'
    terminal.answer({ stateDir, deleted: names }, `Deleted the contents of ${stateDir}.${elsewhere}`)
  },
}

async function agreed(stateDir: string, interactive: boolean): Promise<boolean> {
  if (!interactive) return false
  const prompt = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const answer = await prompt.question(`Delete everything in ${stateDir}? [y/N] `)
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    prompt.close()
  }
}
