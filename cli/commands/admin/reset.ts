/** `tenure reset`: forgets everything that `tenure up` has kept on this machine. */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { readCommandConfig } from '../../../temporal.config.ts'
import { failure } from '../../client/client.ts'
import { openStateDir } from '../../embedded/state-dir.ts'
import { claim } from '../../supervisor/pidfile.ts'
import type { CommandSpec } from '../../program.ts'

/** The set-up's own; it may run at this moment. */
const kept = ['setup.lock']

export const resetCommand: CommandSpec = {
  name: 'reset',
  summary: 'deletes all versions, releases, records and keys that are kept on this machine',
  options: [['--yes', 'do not ask']],
  examples: ['reset', 'reset --yes'],
  async run({ terminal }, { options }) {
    const config = readCommandConfig()
    const stateDir = openStateDir(config.stateDir)
    if (options['yes'] !== true && !(await agreed(stateDir, terminal.interactive)))
      throw failure({
        code: 'usage',
        detail: `${stateDir} was not deleted`,
        remedy: 'Add --yes to delete it without being asked.',
      })
    // Refuses while Tenure runs here, and ends what a killed one has left behind.
    const held = await claim(join(stateDir, 'supervisor.json'))
    const names = readdirSync(stateDir).filter((name) => !kept.includes(name))
    for (const name of names) rmSync(join(stateDir, name), { recursive: true, force: true })
    held.release()
    const elsewhere = config.databaseUrl === undefined ? '' : ' The database of DATABASE_URL is untouched.'
    terminal.answer({ stateDir, deleted: names }, `${stateDir} is empty.${elsewhere}`)
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
