/** `tenure setup`: installs the parts that npm does not install, from the cache of this machine if present. */
import { usageError } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { externalServers } from '../../../project.mjs'

export const setupCommand: CommandSpec = {
  name: 'setup',
  summary:
    'Install the packages, TensorFlow, Temporal and Postgres that the system needs, and check their hashes',
  options: [
    ['--temporal <where>', '`external` installs no Temporal server, and needs no Go (default: embedded)'],
    ['--postgres <where>', '`external` installs no Postgres (default: embedded)'],
    ['--verify', 'Hash every cached file again (about 1 GB)'],
  ],
  examples: ['setup', 'setup --temporal external', 'setup --verify'],
  async run(_, { options }) {
    const { runSetUp } = await import('../../supervisor/set-up.ts')
    const external = new Set(externalServers())
    for (const name of ['temporal', 'postgres'] as const) {
      const where = options[name]
      if (where === undefined) continue
      if (where !== 'embedded' && where !== 'external')
        throw usageError(`--${name} must be embedded or external, not ${String(where)}`)
      if (where === 'external') external.add(name)
      else external.delete(name)
    }
    const isDone = await runSetUp({ without: [...external], verify: options['verify'] === true })
    return isDone ? exitCodes.done : exitCodes.otherwise
  },
}
