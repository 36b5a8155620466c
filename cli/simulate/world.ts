/** Reads the traffic of a simulation from the options of a command. */
import { readFile } from 'node:fs/promises'
import { parseJson } from '../../domain/parse-json.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type { RecordedAnswers } from '../../domain/simulation/recorded-answers.ts'
import { defaultWorld, type RecordedTick, type SimulatedWorld } from '../../domain/simulation/scenario.ts'
import { usageError, unreadable } from '../client/client.ts'
import { numberOption } from '../number-option.ts'
import type { Options } from '../program.ts'

/** Returns synthetic traffic, or the traffic in the file of `--traffic`. */
export async function worldOf(options: Options, policy: ReleasePolicy): Promise<SimulatedWorld> {
  const world: SimulatedWorld = {
    ...defaultWorld,
    tickMs: policy.watch.tickMs,
    requestsPerSecond:
      numberOption(options, 'rps', { min: 0, max: 1_000_000 }) ?? defaultWorld.requestsPerSecond,
    errorRate: numberOption(options, 'base-error', { min: 0, max: 1 }) ?? defaultWorld.errorRate,
  }
  if (options['traffic'] === undefined) return world
  const path = String(options['traffic'])
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw unreadable(path, error)
  })
  const whole = parseJson<Partial<TrafficAnswer> | null>(text)
  const recorded = Array.isArray(whole?.ticks)
    ? recordedWorld(whole as TrafficAnswer)
    : { recorded: text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [parseJson(line)])) }
  const bad = recorded.recorded.findIndex((tick) => !isTick(tick))
  if (bad >= 0)
    throw usageError(`--traffic line ${bad + 1} must have {"requests","errors","invalid"} as counts from 0`)
  if (recorded.recorded.length === 0) throw usageError('--traffic holds no ticks')
  return { ...world, ...(recorded as RecordedWorld) }
}

/** The response of `GET /v1/models/:name/traffic`. */
export interface TrafficAnswer {
  tick_ms: number
  ticks: RecordedTick[]
  answers?: RecordedAnswers
  labels?: { delay_ms: number; window_ms: number; predictions: number; known: number; right?: number }
}

type RecordedWorld = Pick<SimulatedWorld, 'answers' | 'labels'> &
  Required<Pick<SimulatedWorld, 'tickMs' | 'recorded'>>

export function recordedWorld({ tick_ms: tickMs, ticks, answers, labels }: TrafficAnswer): RecordedWorld {
  const { delay_ms: delayMs, window_ms: windowMs, ...counted } = labels ?? {}
  const lists = answers === undefined ? [] : [answers, ...listOf(answers.others ?? [])]
  const counts = [
    ...lists.flatMap((each) => listOf(each?.counts)),
    ...(labels === undefined ? [] : Object.values(labels)),
    tickMs,
  ]
  if (!counts.every(isCount) || tickMs === 0)
    throw usageError('the traffic must have tick_ms, and the counts of its answers and labels from 0')
  return {
    tickMs,
    recorded: ticks,
    ...(answers && { answers }),
    ...(labels && { labels: { ...counted, delayMs, windowMs } as SimulatedWorld['labels'] }),
  }
}

/** A value that is not a list becomes a list of it, which is then refused because it holds no count. */
const listOf = <T>(value: readonly T[]): readonly T[] => (Array.isArray(value) ? value : [value as T])

const isCount = (count: unknown): boolean => Number.isFinite(count) && Number(count) >= 0

function isTick(tick: unknown): tick is RecordedTick {
  const { requests, errors, invalid } = (tick ?? {}) as Partial<RecordedTick>
  return [requests, errors, invalid].every(isCount)
}
