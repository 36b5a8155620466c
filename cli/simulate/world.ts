/** The traffic of a simulation, from the options of a command. */
import { readFile } from 'node:fs/promises'
import { parseJson } from '../../domain/parse-json.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { defaultWorld, type RecordedTick, type SimulatedWorld } from '../../domain/simulation/scenario.ts'
import { usageError } from '../client/client.ts'
import type { Options } from '../program.ts'

/** Synthetic traffic, or that of the file of `--traffic`. */
export async function worldOf(options: Options, policy: ReleasePolicy): Promise<SimulatedWorld> {
  const world: SimulatedWorld = {
    ...defaultWorld,
    tickMs: policy.watch.tickMs,
    requestsPerSecond: numberOf(options, 'rps', defaultWorld.requestsPerSecond, 0, 1_000_000),
    errorRate: numberOf(options, 'base-error', defaultWorld.errorRate, 0, 1),
  }
  if (options['traffic'] === undefined) return world
  const path = String(options['traffic'])
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw usageError(`--traffic ${path} is not readable: ${error.message}`)
  })
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const recorded = lines.map((line, index): RecordedTick => {
    const tick = parseJson<RecordedTick | null>(line)
    const counts = [tick?.requests, tick?.errors, tick?.invalid]
    if (!tick || !counts.every((count) => Number.isFinite(count) && Number(count) >= 0))
      throw usageError(
        `--traffic line ${index + 1} must have {"requests","errors","invalid"} as counts from 0`,
      )
    return tick
  })
  if (recorded.length === 0) throw usageError('--traffic holds no ticks')
  return { ...world, recorded }
}

/** The number of an option, within its limits. */
export function numberOf(options: Options, name: string, fallback: number, min: number, max: number): number {
  const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
  const value = Number(options[key] ?? fallback)
  if (!(value >= min && value <= max))
    throw usageError(`--${name} must be a number from ${min} to ${max}, not ${options[key]}`)
  return value
}
