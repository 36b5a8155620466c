/**
 * Judges a load test: a version answers requests at a rate, in a process of its own, and each latency counts from the time at which its
 * request was due, so that a queue shows.
 */
import { groupedDigits, numberText } from '../figures.ts'
import type { FeatureRow } from './features.ts'
import { digestReason } from './logged-rows.ts'

/** The busiest interval of the last week, over all replicas. */
export interface Peak {
  /** ISO 8601. */
  at: string
  seconds: number
  requestsPerSecond: number
}

/** What was asked for. */
export interface LoadPlan {
  /** Requests per second. */
  rate: number
  seconds: number
  /** Absent for a rate that was given. */
  factor?: number
  peak?: Peak
}

/** One run at one rate. */
export interface LoadRun {
  rate: number
  seconds: number
  /** The requests that were due. */
  due: number
  /** Refused for their content, as with status 422. */
  refused: number
  /** Failed in the model, or with an invalid answer, as with status 5xx. */
  failed: number
  /** Other answers than the version gives to the same rows in a batch. */
  wrong: number
  /** Not answered two seconds after the end. */
  unanswered: number
  p50Ms: number
  p99Ms: number
  /** The share of the time in which the event loop worked on requests. */
  busyShare: number
  /** The share of the time in which it waited for a processor that other work had; absent where the system does not show it. */
  waitedShare?: number
}

export interface LoadReport extends LoadPlan {
  run: LoadRun
  /** The requests that were repeated, and where they come from: those of the peak in the prediction log, or rows of the test set. */
  requests: number
  source: 'log' | 'test'
  /** The features that are logged as digests, so that their logged requests were not repeated. */
  digested?: string[]
  /** The limit of the 99th percentile: the latency limit of the model's monitor. */
  limitMs: number
  /** The message of the first request that was refused or failed. */
  firstError?: string
  /** The highest rate of the shorter runs that held, where the run does not; 0 where none did. */
  heldRate?: number
  machine: { name: string; processors: number; processor: string }
}

/** What the process that serves the version is told. */
export interface LoadJob {
  /** The rows of each request, with the outputs of each row in a batch; null for an output that is not finite. */
  requests: { rows: FeatureRow[]; outputs: (number | null)[][] }[]
  rate: number
  seconds: number
  limitMs: number
}

export type LoadResult = Pick<LoadReport, 'run' | 'heldRate' | 'firstError' | 'machine'>

/** The last load test of a version. It has a report, or a message where it could not be run. */
export interface LoadTest {
  id: string
  requestedBy: string
  /** ISO 8601. */
  at: string
  report?: LoadReport
  message?: string
}

export const loadTestLimits = { maxRate: 20_000, maxFactor: 100, maxSeconds: 20 } as const
export const defaultLoadTest = { factor: 2, seconds: 15 } as const

/** Why a run does not hold; undefined when it does. */
export function loadIssue(
  { due, refused, failed, wrong, unanswered, p99Ms }: LoadRun,
  limitMs: number,
): string | undefined {
  const of = (count: number) => `${groupedDigits(count)} of ${groupedDigits(due)} requests`
  if (failed > 0) return `${of(failed)} failed`
  if (refused > 0) return `${of(refused)} were refused`
  if (wrong > 0) return `${of(wrong)} got another answer than in a batch`
  if (unanswered > 0) return `${of(unanswered)} had no answer 2 s after the end`
  if (p99Ms > limitMs)
    return `the 99th percentile of the latency is ${threeDigits(p99Ms)} ms, at most ${numberText(limitMs)} ms are accepted`
  return undefined
}

/** The rate to try between one that held and one that did not; undefined where they are close. */
export const nextRate = (held: number, exceeded: number): number | undefined =>
  exceeded - held <= 0.1 * exceeded ? undefined : (held + exceeded) / 2

const threeDigits = (value: number): string => numberText(Number(value.toPrecision(3)))

const rateText = ({ rate, factor, peak }: LoadPlan): string =>
  peak === undefined || factor === undefined
    ? `${threeDigits(rate)} requests/s`
    : `${threeDigits(rate)} requests/s (${numberText(factor)} times the busiest ${numberText(peak.seconds)} s of the last week)`

/** `holds 240 requests/s (2 times the busiest 10 s of the last week) for 15 s: 3,612 answers as in a batch, none failed, …`. */
export function loadText({ report, message, at }: LoadTest): string {
  if (report === undefined) return `could not be run: ${message ?? 'unknown'} (${at})`
  const { run, requests, source, limitMs, heldRate, machine, firstError, digested } = report
  const issue = loadIssue(run, limitMs)
  const why =
    digested === undefined ? 'the log has no requests of that time with their inputs' : digestReason(digested)
  const rows =
    source === 'log'
      ? `${groupedDigits(requests)} logged requests of that time, repeated`
      : `${groupedDigits(requests)} rows of the test set, repeated, because ${why}`
  return [
    issue === undefined
      ? `holds ${rateText(report)} for ${run.seconds} s: all ${groupedDigits(run.due)} answers are as in a batch`
      : `does not hold ${rateText(report)} for ${run.seconds} s: ${issue}${firstError === undefined ? '' : ` (${firstError})`}`,
    ...(heldRate === undefined
      ? []
      : [heldRate === 0 ? 'held no lower rate that was tried' : `held ${threeDigits(heldRate)} requests/s`]),
    `latency ${threeDigits(run.p50Ms)} ms at the median and ${threeDigits(run.p99Ms)} ms at the 99th percentile (limit ${numberText(limitMs)} ms)`,
    `event loop ${Math.round(100 * run.busyShare)} % busy`,
    ...(run.waitedShare === undefined
      ? []
      : [
          `other work on the machine had its processor for ${Math.round(100 * run.waitedShare)} % of the time`,
        ]),
    rows,
    `one process on ${machine.name} with ${machine.processors} × ${machine.processor}, ${at}`,
  ].join('; ')
}
