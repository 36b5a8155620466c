/** Collects what the judges of a simulated release read: counters, pairs of the shadow, matured outcomes and rows scored again. */
import { judgedLossOf } from '../../../../domain/tasks/losses.ts'
import { blocksOf, lossCounter, type ArmLosses } from '../../../../domain/canary/holdback.ts'
import type { DisagreementEvidence } from '../../../../domain/canary/disagreement.ts'
import { maturedAnswers, type AnsweredUser } from '../../../../test/support/release/matured-answers.ts'
import type { CountedTick, Observation } from '../../../../domain/release/evidence-builder.ts'
import {
  findSkew,
  isComparedCopy,
  mergeSkew,
  type ReplayedRow,
  type ServedRows,
} from '../../../../domain/monitoring/training-serving-skew.ts'
import type { Reason } from '../../../../domain/verdict.ts'
import type { PlayedDay, PlayingVersion } from '../contenders.ts'
import type { YearStream } from '../streams.ts'
import { yesNoOutput } from './gate.ts'

/** The outcomes of probation are read at every third look. */
const looksPerHoldback = 3

/** The requests of an hour, by their rows, with the version that answered each. */
interface ServedHour {
  rows: readonly number[]
  chosen: readonly PlayingVersion[]
}

interface ServedIn {
  /** The stage. */
  where: string | undefined
  generation: number
  startMs: number
}

type BothAnswers = Record<'candidate' | 'baseline', Float32Array>

export interface PlayedEvidence {
  /** Counts an hour. */
  count(day: PlayedDay, served: ServedHour, during: ServedIn): void
  observe(look: { nowMs: number; watchedMs: number; isProbation: boolean }): Observation
  /**
   * Returns the finding of the skew check: the monitor scores rows of a new champion again at the end of its first window, and once a day.
   */
  skew(): Reason | undefined
}

export function collectEvidence(
  stream: YearStream,
  { candidate, baseline }: Record<'candidate' | 'baseline', PlayingVersion>,
  { hourMs, holdbackBp }: { hourMs: number; holdbackBp: number },
): PlayedEvidence {
  const counted: CountedTick[] = []
  const answered: AnsweredUser[] = []
  /** Rows that the monitor scores again after the promotion. */
  let logged: ReplayedRow[] = []
  /** The served rows of the stage beside the training path. */
  let served: ServedRows | undefined
  let servedIn: string | undefined
  let seen = 0
  let disagreement: DisagreementEvidence | undefined
  let holdback: ArmLosses | undefined
  let looks = 0

  return {
    count(day, { rows, chosen }, { where, generation, startMs }) {
      const answers = { candidate: day.answers(candidate), baseline: day.answers(baseline) }
      const isShadow = where === 'shadow'
      const servedBy = (version: PlayingVersion) => rows.filter((_, place) => chosen[place] === version)
      const ofCandidate = isShadow ? rows : servedBy(candidate)
      const ofBaseline = isShadow ? rows : servedBy(baseline)
      const during = { generation, tickMs: startMs, lengthMs: hourMs }
      counted.push(
        { version: candidate.version.id, ...during, ...countsOf(stream, ofCandidate, answers.candidate) },
        { version: baseline.version.id, ...during, ...countsOf(stream, ofBaseline, answers.baseline) },
      )
      if (where !== servedIn) [servedIn, seen, served] = [where, 0, undefined]
      const compared = ofCandidate.filter(() => isComparedCopy(seen++))
      const found = findSkew(replayed(candidate, day, compared, answers.candidate))
      served = served === undefined ? found : mergeSkew(served, found)
      if (isShadow) disagreement = paired(stream, disagreement, day, rows, answers)
      else logged = replayed(candidate, day, ofCandidate, answers.candidate)
      if (where !== 'probation') return
      for (const [place, row] of rows.entries()) {
        const isCandidate = chosen[place] === candidate
        const request = day.requests[row]!
        const answer = (isCandidate ? answers.candidate : answers.baseline)[row]!
        const { atMs, told: value, knownAtMs: arrivedMs } = day.recorded(request, answer)
        const by = isCandidate
          ? ({ arm: 'canary', outputs: [answer] } as const)
          : ({ arm: 'control', outputs: [answer] } as const)
        answered.push({ ...by, atMs, value, arrivedMs })
      }
    },
    observe({ nowMs, watchedMs, isProbation }) {
      if (isProbation && looks++ % looksPerHoldback === 0) {
        const output = yesNoOutput(stream)
        const by = { canary: { output }, control: { output } }
        const counter = lossCounter({
          judged: judgedLossOf(output),
          by,
          blocks: blocksOf(10_000 - holdbackBp),
        })
        maturedAnswers(knownAt(answered, nowMs), nowMs)?.matured.forEach(counter.add)
        holdback = counter.losses()
      }
      return {
        counted,
        staleMs: 0,
        watchedMs,
        disagreement,
        holdback,
        served,
        answerNames: ['no', 'yes'],
      }
    },
    skew() {
      const { status, compared, mismatchedRows } = findSkew(logged)
      const message = `serving skew: ${mismatchedRows} of ${compared} rows differ from training`
      const values = { compared, mismatchedRows }
      return status === 'skew' ? { code: 'monitor_alarm', message, values } : undefined
    },
  }
}

/** Returns the counters of the requests of some rows. */
function countsOf({ threshold }: YearStream, rows: readonly number[], answers: Float32Array) {
  const requests = rows.length
  const yes = rows.filter((row) => answers[row]! >= threshold).length
  const arm = { requests, errors: 0, invalid: 0, slow95: 0, slow99: 0, keys: requests }
  return { ...arm, answers: [requests - yes, yes] }
}

/** Returns predictions with the outcomes that are known by now. */
const knownAt = (answered: readonly AnsweredUser[], nowMs: number): AnsweredUser[] =>
  answered.map((each) => (each.arrivedMs! <= nowMs ? each : { ...each, value: null, arrivedMs: null }))

/** Returns the answers as they were served, and those of the training path for the logged rows. */
function replayed(
  { version }: PlayingVersion,
  { requests }: PlayedDay,
  rows: readonly number[],
  served: Float32Array,
): ReplayedRow[] {
  const again = version.answer(rows.map((row) => requests[row]!.features))
  return rows.map((row, place) => ({
    predictionId: requests[row]!.id,
    served: { score: served[row]! },
    replayed: { score: again[place]! },
  }))
}

/** Adds the pairs of an hour of shadow: whether both versions decide alike, overall and in each slice. */
function paired(
  { threshold, slices }: YearStream,
  before: DisagreementEvidence | undefined,
  { requests }: PlayedDay,
  rows: readonly number[],
  answers: BothAnswers,
): DisagreementEvidence {
  const up = (row: number, which: keyof BothAnswers) => answers[which][row]! >= threshold
  const differs = (row: number) => Number(up(row, 'candidate') !== up(row, 'baseline'))
  const add = (name: string, known: readonly number[] | undefined, some: readonly number[]) => {
    const distances = [...(known ?? [0, 0])]
    for (const row of some) distances[differs(row)]!++
    return { name, distances }
  }
  const changed = rows.filter((row) => differs(row) === 1)
  const toYes = changed.filter((row) => up(row, 'candidate')).length
  const earlier = (from: string) => before?.changes.find((each) => each.from === from)?.count ?? 0
  return {
    measure: 'decisions',
    all: add('all requests', before?.all.distances, rows),
    slices: slices.map(({ name, holds }, place) =>
      add(
        name,
        before?.slices[place]?.distances,
        rows.filter((row) => holds(requests[row]!.features)),
      ),
    ),
    changes: [
      { from: 'no', to: 'yes', count: earlier('no') + toYes },
      { from: 'yes', to: 'no', count: earlier('yes') + changed.length - toYes },
    ],
  }
}
