/**
 * Asks a program for the verdicts of a case: it reads a line of JSON each morning and writes a line with its verdict, as protocol.md
 * describes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { hash32 } from '../../../domain/serving/route.ts'
import { dayNumber, emptyFigures, type PlayingVersion, type YearContender } from '../worth/contenders.ts'
import type { StreamRow } from '../worth/streams.ts'
import { featuresOf, type PlayedVersion } from '../worth/versions.ts'
import { tableRowOf } from './cases.ts'

const verdictLine = z.strictObject({
  verdict: z.enum(['release', 'hold', 'rollback']),
  /** The share of requests that a released version answers; without it, the version becomes champion. */
  share: z.number().gt(0).lt(1).optional(),
  /** Tells a person what is wrong. */
  alarm: z.string().min(1).optional(),
  /** Orders a training for the next morning; there is one each week anyway. */
  train: z.boolean().optional(),
})
type VerdictLine = z.infer<typeof verdictLine>

interface Answered {
  row: StreamRow
  by: PlayingVersion
  answer: number
}

/** What the program has brought about so far. */
interface Serving {
  champion: PlayingVersion
  former?: PlayingVersion
  /** A version that answers a share of the requests. */
  partial?: PlayingVersion & { share: number }
}

/** Returns a rule that a command decides. `morning` throws if the program ends early or writes no verdict. */
export function programRule(command: string): YearContender {
  const program = openProgram(command)
  let serving: Serving | undefined
  let isTrainingOrdered = false
  /** Yesterday's requests. */
  let answered: Answered[] = []
  let unlabelled: StreamRow[] = []
  let askedMs = -Infinity

  return {
    name: command,
    ...emptyFigures(),
    async morning(day) {
      const { stream, atMs } = day
      const isFirst = serving === undefined
      const candidate =
        day.place === 0 || isTrainingOrdered ? (this.trainings++, await day.train()) : undefined
      serving ??= { champion: { version: candidate!.version } }
      if (isFirst) {
        const { features, threshold, weekMs } = stream
        program.write({ features, threshold, day_ms: weekMs / 7 })
      }
      const arrived = ({ knownAtMs }: StreamRow) => knownAtMs > askedMs && knownAtMs <= atMs
      const { champion } = serving
      program.write({
        day: dayNumber(day),
        champion: champion.version.id,
        requests: answered.map(({ row, by, answer }) => ({
          id: row.id,
          at_ms: row.atMs,
          features: row.features,
          version: by.version.id,
          answer,
        })),
        labels: unlabelled.filter(arrived).map(({ id, told }) => ({ id, label: told })),
        table: day.table.filter(arrived).map(tableRowOf),
        candidate: candidate && {
          id: candidate.version.id,
          rows: candidate.snapshot.train.length,
          test: testOf(candidate.snapshot.test, candidate.version, champion.version),
        },
      })
      unlabelled = unlabelled.filter(({ knownAtMs }) => knownAtMs > atMs)
      askedMs = atMs
      const verdict = await program.read(dayNumber(day))
      isTrainingOrdered = verdict.train === true
      if (verdict.alarm !== undefined) this.alarms.push({ day: dayNumber(day), text: verdict.alarm })
      if (isFirst) return
      const { version } = candidate ?? {}
      if (verdict.verdict === 'hold' && version !== undefined)
        this.refused.push({ day: dayNumber(day), version: () => Promise.resolve(version) })
      serving = afterVerdict(serving, verdict, version)
    },
    serve(day) {
      const { champion, partial } = serving!
      const served = day.requests.map(({ id }) =>
        partial !== undefined && hash32(`${partial.version.id}/${id}`) % 10_000 < 10_000 * partial.share
          ? partial
          : champion,
      )
      answered = day.requests.map((row, place) => ({
        row,
        by: served[place]!,
        answer: day.answers(served[place]!)[place]!,
      }))
      unlabelled.push(...answered.map(({ row, answer }) => day.recorded(row, answer)))
      return served
    },
    close: () => program.close(),
  }
}

const testOf = (test: readonly StreamRow[], candidate: PlayedVersion, champion: PlayedVersion) => {
  const rows = featuresOf(test)
  const [own, other] = [candidate.answer(rows), champion.answer(rows)]
  return test.map(({ features, told }, row) => ({
    features,
    label: told,
    candidate: own[row]!,
    champion: other[row]!,
  }))
}

function afterVerdict(
  serving: Serving,
  { verdict, share }: VerdictLine,
  candidate: PlayedVersion | undefined,
): Serving {
  const { champion, former, partial } = serving
  switch (verdict) {
    case 'hold':
      return serving
    case 'release': {
      const version = candidate ?? partial?.version
      if (version === undefined)
        throw new Error('the program releases, but no version waits: write the verdict hold')
      return share === undefined
        ? { champion: { version }, former: champion }
        : { champion, former, partial: { version, share } }
    }
    case 'rollback':
      if (partial !== undefined) return { champion, former }
      if (former === undefined)
        throw new Error('the program rolls back, but no version served before: write the verdict hold')
      return { champion: former }
    default:
      return verdict satisfies never
  }
}

interface Program {
  write(line: unknown): void
  read(day: number): Promise<VerdictLine>
  close(): Promise<void>
}

function openProgram(command: string): Program {
  const child = spawn('/bin/sh', ['-c', `exec ${command}`], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  // The end of the program is noticed by the reader, which says on which day it happened.
  child.stdin.on('error', () => {})
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    write: (line) => void child.stdin.write(`${JSON.stringify(line)}\n`),
    async read(day) {
      const { value, done } = await lines.next()
      const wanted = `write one line such as {"verdict":"hold"} for each day, and flush it`
      if (done === true) throw new Error(`"${command}" ended before its verdict of day ${day}: ${wanted}`)
      const read = verdictLine.safeParse(jsonOf(value))
      if (!read.success)
        throw new Error(`"${command}" wrote ${value} on day ${day}, which is no verdict: ${wanted}`)
      return read.data
    },
    async close() {
      child.stdin.end()
      await ended
    },
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
