/** Maps the function names and fields of worked cases to the product's functions. Contains no formula of its own. */

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
  pairedEvidence,
  populationStability,
  quantiles,
  type RateTick,
  ratioGrid,
  wasserstein,
} from '@tenure/sequential'
import { delayedStartEvidence } from './delayed-start.ts'
import { guardEvidence, rateEvidence } from './sequential-evidence.ts'
import { fairness } from './group-fairness.ts'
import { countBins, numberProfile } from '../../../domain/model/reference-profile.ts'
import { binaryMetrics, regressionMetrics } from './model-metrics.ts'

type Missing = number | null
type Output = Record<string, unknown>

/** Reads the fields of one case. Throws an error that names a missing or mistyped field. */
function reader(input: Record<string, unknown>) {
  const fail = (name: string, wanted: string): never => {
    throw new TypeError(`input.${name} must be ${wanted}`)
  }
  const isMissing = (value: unknown): value is Missing => value === null || typeof value === 'number'
  const number = (name: string, fallback?: number): number => {
    const value = input[name] ?? fallback
    // A missing count or limit becomes NaN, for which the functions return null.
    if (value === undefined && name in input) return NaN
    return typeof value === 'number' ? value : fail(name, 'a number')
  }
  const list = (name: string): unknown[] => {
    const value = input[name]
    return Array.isArray(value) ? value : fail(name, 'a list')
  }
  const numbers = (name: string): Missing[] => {
    const values = list(name)
    return values.every(isMissing) ? values : fail(name, 'a list of numbers and nulls')
  }
  return {
    number,
    list,
    numbers,
    /** Reads counts; a missing one becomes NaN, which the function refuses. */
    counts: (name: string): number[] => numbers(name).map((value) => value ?? NaN),
    names: (name: string): (string | null)[] =>
      list(name).map((value) => (value === null ? null : String(value))),
    grid(): readonly number[] {
      const grid = input['grid'] ?? 'G'
      if (grid === 'G') return ratioGrid
      if (grid === '1/G' || grid === 'inverse') return inverseGrid
      return Array.isArray(grid) && grid.every((r) => typeof r === 'number')
        ? grid
        : fail('grid', '"G" or ratios')
    },
    /** Reads ticks; a tick with a missing count gets empty arms, which the test skips. */
    ticks(): RateTick[] {
      const standard = ['nCanary', 'nControl', 'xCanary', 'xControl']
      const columns = Array.isArray(input['columns']) ? input['columns'] : standard
      const at = standard.map((name) => columns.indexOf(name))
      return list('ticks').map((row) => {
        if (!Array.isArray(row) || !row.every(isMissing)) return fail('ticks', 'a list of lists of numbers')
        const [nC, nB, xC, xB] = at.map((column) => row[column] ?? null)
        if (nC == null || nB == null || xC == null || xB == null) {
          return { treatmentTotal: 0, controlTotal: 0, treatmentEvents: 0, controlEvents: 0 }
        }
        return { treatmentTotal: nC, controlTotal: nB, treatmentEvents: xC, controlEvents: xB }
      })
    },
    /** Returns the rows without a missing value in the named lists. */
    rows(...names: string[]): number[][] {
      const lists = names.map(numbers)
      const length = Math.min(...lists.map((values) => values.length))
      const kept = Array.from({ length }, (_, i) => i).filter((i) =>
        lists.every((values) => Number.isFinite(values[i])),
      )
      return lists.map((values) => kept.map((i) => values[i]!))
    },
  }
}

/** Returns the evidence of one count; `invalid` if it is null. */
const evidenceOf = (logE: number | null) => ({ status: logE === null ? 'invalid' : 'ok', logE })

const isLabel = (value: number) => value === 0 || value === 1

const functions: Record<string, (read: ReturnType<typeof reader>) => Output> = {
  ks2samp: (read) => {
    const { status, distance, pLimit, pFinite } = kolmogorovSmirnov(read.numbers('a'), read.numbers('b'))
    return { status, D: distance, pLimit, pScipyAsymp: pFinite }
  },
  chi2Homogeneity: (read) => ({ ...chiSquareHomogeneity(read.counts('ref'), read.counts('cur')) }),
  psiCounts: (read) => ({ ...populationStability(read.counts('ref'), read.counts('cur')) }),
  psiNumeric: (read) => {
    const bins = read.number('bins', 10)
    if (!(Number.isInteger(bins) && bins >= 1)) return { status: 'invalid', psi: null, edges: null }
    const profile = numberProfile('value', read.numbers('ref'), bins)
    const curCounts = countBins(profile, read.numbers('cur'))
    const psi = populationStability(profile.counts, curCounts)
    return { ...psi, edges: profile.edges, refCounts: profile.counts, curCounts }
  },
  wasserstein: (read) => {
    const { status, distance, normed } = wasserstein(read.numbers('ref'), read.numbers('cur'))
    return { status, w: distance, wNormed: normed }
  },
  jsDivergence: (read) => {
    const jsd = jensenShannon(read.counts('p'), read.counts('q'), read.number('base', 2))
    return { status: jsd === null ? 'undefined' : 'ok', jsd }
  },
  mcnemar: (read) => {
    const { status, pExact, pMid, chi2, pChi2 } = mcnemar(read.number('b'), read.number('c'))
    return { status, pExact, pMid, chi2cc: chi2, pChi2cc: pChi2 }
  },
  delong: (read) => {
    const [y, s1, s2] = read.rows('y', 's1', 's2') as [number[], number[], number[]]
    if (!y.every(isLabel))
      return { status: 'invalid', auc1: null, auc2: null, z: null, pTwoSided: null, ci95: null }
    const { interval, standardError: _, ...rest } = delong(y, s1, s2)
    return { ...rest, ci95: interval }
  },
  auc: (read) => {
    const [y, s] = read.rows('y', 's') as [number[], number[]]
    if (!y.every(isLabel)) return { status: 'invalid', auc: null }
    const value = auc(y, s)
    return { status: value !== null ? 'ok' : y.length === 0 ? 'no_data' : 'one_class', auc: value }
  },
  binaryMetrics: (read) => {
    const [y, p] = read.rows('y', 'p') as [number[], number[]]
    return binaryMetrics(y, p, read.number('threshold', 0.5))
  },
  regressionMetrics: (read) => {
    const [y, predicted] = read.rows('y', 'yhat') as [number[], number[]]
    return regressionMetrics(y, predicted)
  },
  quantiles: (read) => {
    const values = read.numbers('x')
    const empty = values.every((value) => value === null)
    return { status: empty ? 'no_data' : 'ok', q: quantiles(values, read.counts('probs')) }
  },
  binomialCI: (read) => ({
    ...binomialInterval(read.number('k'), read.number('n'), read.number('conf', 0.95)),
  }),
  adjustP: (read) => ({ bh: benjaminiHochberg(read.numbers('p')), holm: holm(read.numbers('p')) }),
  fairness: (read) => {
    const { groups, ...rest } = fairness(read.names('group'), read.numbers('y'), read.numbers('yhat'))
    const by = (rate: 'selectionRate' | 'tpr' | 'fpr' | 'rows') =>
      Object.fromEntries(groups.map((group) => [group.group, group[rate]]))
    return { ...rest, selectionRate: by('selectionRate'), tpr: by('tpr'), fpr: by('fpr'), rows: by('rows') }
  },
  cbpe: (read) => ({ ...expectedMetrics(read.numbers('p'), read.numbers('yhat')) }),
  eRate: (read) => {
    const evidence = rateEvidence(read.ticks(), { ratio: read.number('r0', 1), grid: read.grid() })
    return { ...evidence, rejectAt01: evidence.maxLogE !== null && evidence.maxLogE >= Math.log(100) }
  },
  ePaired: (read) => evidenceOf(pairedEvidence(read.number('b'), read.number('c'))),
  eGuard: (read) => {
    const logE = guardEvidence(read.number('n'), read.number('x'), read.number('p0'))
    return { ...evidenceOf(logE), rollbackAt001: logE !== null && logE >= Math.log(1000) }
  },
  eNonInferiority: (read) => {
    const counts = { lost: read.number('nMinus'), same: read.number('nZero'), won: read.number('nPlus') }
    return evidenceOf(nonInferiorityEvidence(counts, read.number('margin')))
  },
  eDelayedStart: (read) => ({
    ...delayedStartEvidence(read.ticks(), read.counts('starts'), {
      ratio: read.number('r0', 1),
      grid: read.grid(),
    }),
  }),
}

/** Replaces NaN and infinite statistics, which are undefined, with null: JSON has no NaN. For `JSON.stringify`. */
export function withoutNaN(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? null : value
}

/** Evaluates one line: `{id, output}`, or `{id, error}` for invalid input or an unknown function. */
export function answer(line: string): Output {
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch {
    return { id: null, error: 'the line is not JSON' }
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return { id: null, error: 'the line is not an object {id, fn, input}' }
  }
  const { id = null, fn, input } = parsed as { id?: unknown; fn?: unknown; input?: unknown }
  const run = typeof fn === 'string' && Object.hasOwn(functions, fn) ? functions[fn] : undefined
  if (run === undefined) return { id, error: `unknown fn: ${JSON.stringify(fn)}` }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    return { id, error: 'input must be an object' }
  }
  try {
    return { id, output: run(reader(input as Record<string, unknown>)) }
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) }
  }
}
