/** Compares the functions with other implementations: SciPy, scikit-learn, statsmodels, and NumPy by the definition. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  auc,
  benjaminiHochberg,
  binomialInterval,
  chiSquareHomogeneity,
  delong,
  expectedMetrics,
  holm,
  inverseGrid,
  jensenShannon,
  kolmogorovSmirnov,
  mcnemar,
  nonInferiorityEvidence,
  oneArmRateTest,
  pairedEvidence,
  populationStability,
  quantiles,
  ratioGrid,
  twoArmRateTest,
  wasserstein,
} from '../src/index.ts'

type Values = (number | null)[]
/** The fields of the cases; each function has its own of them. */
interface Input {
  [list: string]: Values
}
interface Numbers {
  [name: string]: number
}
interface Case {
  id: string
  fn: string
  input: Input
  expected: Record<string, unknown>
  tol: number
  source: string
}

/** The rows without a missing value. */
function rows(...lists: Values[]): number[][] {
  const kept = lists[0]!.map((_, i) => i).filter((i) => lists.every((list) => Number.isFinite(list[i])))
  return lists.map((list) => kept.map((i) => list[i]!))
}

const counts = (list: Values): number[] => list.map((value) => value ?? NaN)

/** The evidence of the two-arm test after each row [treatment, control, events of the treatment, events of the control]. */
function evidenceOf(ticks: number[][], { r0 = 1, grid = 'G' }: { r0?: number; grid?: string }): number[] {
  const test = twoArmRateTest({ ratio: r0, grid: grid === 'G' ? ratioGrid : inverseGrid })
  return ticks.map(([treatmentTotal, controlTotal, treatmentEvents, controlEvents]) => {
    test.add({
      treatmentTotal: treatmentTotal!,
      controlTotal: controlTotal!,
      treatmentEvents: treatmentEvents!,
      controlEvents: controlEvents!,
    })
    return test.plainLogE()
  })
}

const functions: Record<string, (input: Input & Numbers) => Record<string, unknown>> = {
  ks2samp: ({ a, b }) => {
    const { distance, pLimit, pFinite } = kolmogorovSmirnov(a!, b!)
    return { D: distance, pLimit, pScipyAsymp: pFinite }
  },
  chi2Homogeneity: ({ ref, cur }) => ({ ...chiSquareHomogeneity(counts(ref!), counts(cur!)) }),
  psiCounts: ({ ref, cur }) => ({ ...populationStability(counts(ref!), counts(cur!)) }),
  wasserstein: ({ ref, cur }) => {
    const { distance, normed } = wasserstein(ref!, cur!)
    return { w: distance, wNormed: normed }
  },
  jsDivergence: ({ p, q, base }) => ({ jsd: jensenShannon(counts(p!), counts(q!), base) }),
  mcnemar: ({ b, c }) => {
    const { chi2, pChi2, ...exact } = mcnemar(b!, c!)
    return { ...exact, chi2cc: chi2, pChi2cc: pChi2 }
  },
  delong: ({ y, s1, s2 }) => {
    const [labels, first, second] = rows(y!, s1!, s2!)
    const { interval, ...rest } = delong(labels!, first!, second!)
    return { ...rest, ci95: interval }
  },
  auc: ({ y, s }) => {
    const [labels, scores] = rows(y!, s!)
    return { auc: auc(labels!, scores!) }
  },
  quantiles: ({ x, probs }) => ({ q: quantiles(x!, counts(probs!)) }),
  binomialCI: ({ k, n, conf }) => ({ ...binomialInterval(k!, n!, conf) }),
  adjustP: ({ p }) => ({ bh: benjaminiHochberg(p!), holm: holm(p!) }),
  cbpe: ({ p, yhat }) => ({ ...expectedMetrics(p!, yhat!) }),
  eRate: (input) => {
    const { ticks, ...options } = input as unknown as { ticks: number[][]; r0?: number; grid?: string }
    const logE = evidenceOf(ticks, options)
    return { logE, maxLogE: Math.max(...logE), rejectAt01: Math.max(...logE) >= Math.log(100) }
  },
  eDelayedStart: (input) => {
    const { ticks, starts } = input as unknown as { ticks: number[][]; starts: number[] }
    const started = starts.map((start) => evidenceOf(ticks.slice(start), {}).at(-1) ?? 0)
    // By the definition: w_j = 1/(j(j+1)), and the rest of the mass counts 1.
    const sum = started.reduce(
      (total, logE, i) => total + Math.exp(logE) / ((i + 1) * (i + 2)),
      1 / (starts.length + 1),
    )
    return { logE: Math.log(sum), plainLogE: evidenceOf(ticks, {}).at(-1) }
  },
  eGuard: ({ x, n, p0 }) => {
    const test = oneArmRateTest(p0!)
    test.add(n!, x!)
    return { logE: test.plainLogE(), rollbackAt001: test.plainLogE() >= Math.log(1_000) }
  },
  ePaired: ({ b, c }) => ({ logE: pairedEvidence(b!, c!) }),
  eNonInferiority: ({ nMinus, nZero, nPlus, margin }) => ({
    logE: nonInferiorityEvidence({ lost: nMinus!, same: nZero!, won: nPlus! }, margin!),
  }),
}

/** Where `got` differs from `wanted` by more than tol·max(1, |wanted|). */
function differences(wanted: unknown, got: unknown, tol: number, place = ''): string[] {
  if (typeof wanted === 'object' && wanted !== null)
    return Object.entries(wanted).flatMap(([key, value]) =>
      differences(value, (got as Record<string, unknown> | null | undefined)?.[key], tol, `${place}.${key}`),
    )
  const isClose =
    typeof wanted === 'number' && typeof got === 'number'
      ? Math.abs(got - wanted) <= tol * Math.max(1, Math.abs(wanted))
      : got === wanted
  return isClose ? [] : [`${place}: ${String(got)}, not ${String(wanted)}`]
}

const { cases } = JSON.parse(readFileSync(new URL('known-values.json', import.meta.url), 'utf8')) as {
  cases: Case[]
}

describe('known values from other implementations', () => {
  it.each(cases)('$id ($source)', ({ fn, input, expected, tol }) => {
    expect(differences(expected, functions[fn]!(input as Input & Numbers), tol)).toEqual([])
  })
})
