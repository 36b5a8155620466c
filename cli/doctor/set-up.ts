/** Checks the parts of the set-up by the set-up's own report: packages, TensorFlow, Temporal and Postgres. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkout, setUpCommand } from '../../temporal.config.ts'
import { failure } from '../client/client.ts'
import { broken, ok, warning, type Finding } from './finding.ts'

const run = promisify(execFile)
const maxOutputBytes = 4_000_000

interface PartReport {
  name: string
  fault?: string
  lacks?: string[]
  remedy?: string
}

/** Checks all parts except `without`. `verify` hashes each cached file instead of comparing its size and time. */
export async function checkParts(
  without: ReadonlySet<string>,
  { verify }: { verify: boolean },
): Promise<Finding[]> {
  let parts: PartReport[]
  try {
    const script = join(checkout, 'cli/setup.mjs')
    const { stdout } = await run(process.execPath, [script, '--report', ...(verify ? ['--verify'] : [])], {
      timeout: verify ? 300_000 : 60_000,
      maxBuffer: maxOutputBytes,
    })
    parts = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as PartReport[]
  } catch (error) {
    const why = (error as { stderr?: string }).stderr?.trim() || (error as Error).message
    return [
      broken('set-up', `the set-up report failed: ${why}`, `Run \`${setUpCommand}\` and follow its output.`),
    ]
  }
  return parts.filter(({ name }) => !without.has(name)).map(findingOfPart)
}

/** Throws where the set-up has not installed what model files need, except `without` and the servers; else the files would be blamed for it. */
export async function requireSetUp(without: readonly string[]): Promise<void> {
  const servers = ['temporal', 'postgres', 'processes']
  const parts = await checkParts(new Set([...servers, ...without]), { verify: false })
  const lacking = parts.find(({ state }) => state === 'broken')
  if (lacking !== undefined)
    throw failure({
      code: 'refused',
      detail: `model files cannot be read yet: ${lacking.check}: ${lacking.found}`,
      remedy: `Run \`${setUpCommand}\` once, then try again.`,
    })
}

export function findingOfPart({ name, fault, lacks = [], remedy = '' }: PartReport): Finding {
  const lack = lacks.join('; ')
  const install = remedy.split('\n').at(-1)?.trim() ?? ''
  const check = `set-up: ${name}`
  if (fault !== undefined && lack !== '')
    return broken(
      check,
      `${fault}; to build it, this machine lacks ${lack}`,
      `${install}, then run \`${setUpCommand}\`.`,
    )
  if (fault !== undefined) return broken(check, fault, `Run \`${setUpCommand}\`.`)
  if (lack !== '')
    return warning(
      check,
      `installed; to rebuild it, this machine lacks ${lack}`,
      `Before the next update: ${install}`,
    )
  return ok(check, 'installed')
}
