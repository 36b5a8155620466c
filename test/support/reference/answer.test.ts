import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { answer, withoutNaN } from './answer.ts'

interface Case {
  id: string
  fn: string
  input: unknown
  expected: Record<string, unknown>
  tol: number
  source: string
}

const cases = ['reference-cases.json', 'known-values.json'].flatMap(
  (name) => (JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8')) as { cases: Case[] }).cases,
)

const ask = (fn: string, input: unknown): Record<string, unknown> =>
  (JSON.parse(JSON.stringify(answer(JSON.stringify({ id: 1, fn, input })), withoutNaN)) as { output: never })
    .output

/** Returns the paths where `got` differs from `wanted` by more than tol·max(1, |wanted|). */
function differences(wanted: unknown, got: unknown, tol: number, place = ''): string[] {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(got) || got.length !== wanted.length) return [`${place} has another length`]
    return wanted.flatMap((value, i) => differences(value, got[i], tol, `${place}[${i}]`))
  }
  if (typeof wanted === 'object' && wanted !== null) {
    return Object.entries(wanted).flatMap(([key, value]) =>
      differences(value, (got as Record<string, unknown> | undefined)?.[key], tol, `${place}.${key}`),
    )
  }
  if (typeof wanted === 'number') {
    const close = typeof got === 'number' && Math.abs(got - wanted) <= tol * Math.max(1, Math.abs(wanted))
    return close ? [] : [`${place}: ${String(got)}, not ${wanted}`]
  }
  return got === wanted ? [] : [`${place}: ${String(got)}, not ${String(wanted)}`]
}

describe('known values from other implementations', () => {
  it.each(cases)('$id ($source)', ({ fn, input, expected, tol }) => {
    expect(differences(expected, ask(fn, input), tol)).toEqual([])
  })

  it('cover every function', () => {
    expect(new Set(cases.map(({ fn }) => fn)).size).toBe(21)
  })
})

describe('an undefined value is null with a reason', () => {
  const nothing = {
    a: [],
    b: [],
    ref: [],
    cur: [],
    p: [],
    q: [],
    y: [],
    s: [],
    s1: [],
    s2: [],
    yhat: [],
    x: [],
  }
  const empty = {
    ...nothing,
    group: [],
    ticks: [],
    starts: [],
    probs: [0.5],
    n: 0,
    k: 0,
    c: 0,
    margin: 0.01,
    p0: 0.02,
  }

  it.each([
    ['ks2samp', empty, { status: 'no_data', D: null, pLimit: null, pScipyAsymp: null }],
    ['ks2samp', { a: [null, null], b: [1] }, { status: 'no_data', D: null }],
    ['ks2samp', { a: [1, 1], b: [1, 1, 1] }, { status: 'ok', D: 0, pLimit: 1, pScipyAsymp: 1 }],
    ['chi2Homogeneity', empty, { status: 'no_data', p: null }],
    ['chi2Homogeneity', { ref: [4, 2], cur: [0, 0] }, { status: 'no_data', p: null }],
    [
      'chi2Homogeneity',
      { ref: [5, 0], cur: [3, 0] },
      { status: 'one_column', stat: 0, p: 1, cramersV: null },
    ],
    ['chi2Homogeneity', { ref: [5, null], cur: [3, 1] }, { status: 'invalid', p: null }],
    ['chi2Homogeneity', { ref: [5, -1], cur: [3, 1] }, { status: 'invalid', p: null }],
    ['chi2Homogeneity', { ref: [5, 1], cur: [3, 1, 2] }, { status: 'invalid', p: null }],
    ['psiCounts', empty, { status: 'no_data', psi: null, nullMean: null }],
    ['psiCounts', { ref: [1, 2], cur: [0, 0] }, { status: 'no_data', psi: null }],
    ['psiNumeric', { ref: [], cur: [1], bins: 10 }, { status: 'no_data', psi: null, edges: [] }],
    [
      'psiNumeric',
      { ref: [5, 5], cur: [5, null], bins: 10 },
      { edges: [5, 5 + 2 ** -21], refCounts: [0, 2, 0, 0], curCounts: [0, 1, 0, 1] },
    ],
    ['psiNumeric', { ref: [1], cur: [1], bins: 0 }, { status: 'invalid', psi: null }],
    ['wasserstein', empty, { status: 'no_data', w: null, wNormed: null }],
    ['wasserstein', { ref: [2, 2], cur: [3] }, { w: 1, wNormed: 1000 }],
    ['jsDivergence', empty, { status: 'undefined', jsd: null }],
    ['jsDivergence', { p: [1, 0], q: [0, 3], base: 2 }, { jsd: 1 }],
    ['jsDivergence', { p: [1, 1], q: [0, 3], base: 1 }, { jsd: null }],
    [
      'mcnemar',
      { b: 0, c: 0 },
      { status: 'no_disagreement', pExact: 1, pMid: 1, chi2cc: null, pChi2cc: null },
    ],
    ['mcnemar', { b: null, c: 2 }, { status: 'invalid', pExact: null }],
    ['delong', empty, { status: 'one_class', auc1: null, z: null, ci95: null }],
    ['delong', { y: [1, 1], s1: [0, 1], s2: [1, 0] }, { status: 'one_class', auc1: null }],
    [
      'delong',
      { y: [1, 0, 1, 0], s1: [4, 2, 3, 1], s2: [4, 2, 3, 1] },
      { status: 'no_variance', z: null, ci95: [0, 0] },
    ],
    [
      'delong',
      { y: [1, 0, 0], s1: [3, 2, 1], s2: [1, 2, 3] },
      { status: 'no_variance', auc1: 1, auc2: 0, z: null, ci95: null },
    ],
    ['delong', { y: [1, 2], s1: [3, 2], s2: [1, 2] }, { status: 'invalid', auc1: null }],
    ['auc', empty, { status: 'no_data', auc: null }],
    ['auc', { y: [1, 1], s: [0.1, 0.2] }, { status: 'one_class', auc: null }],
    ['auc', { y: [1, 0, null, 1], s: [0.5, 0.2, 0.9, null] }, { status: 'ok', auc: 1 }],
    ['auc', { y: [1, 0, 3], s: [1, 2, 3] }, { status: 'invalid', auc: null }],
    ['binaryMetrics', empty, { status: 'no_data', accuracy: null, logLoss: null, ece10: null }],
    [
      'binaryMetrics',
      { y: [0, 0], p: [0.2, 0.1] },
      {
        status: 'one_class',
        precision: null,
        recall: null,
        f1: null,
        mcc: null,
        auc: null,
        averagePrecision: null,
        accuracy: 1,
      },
    ],
    [
      'binaryMetrics',
      { y: [0, 1], p: [1.5, 0.2] },
      { status: 'not_a_probability', brier: null, logLoss: null, ece10: null, auc: 0 },
    ],
    ['binaryMetrics', { y: [0, 2], p: [0.5, 0.2] }, { status: 'invalid', accuracy: null, tp: 0 }],
    ['regressionMetrics', empty, { status: 'no_data', mae: null, rmse: null, r2: null }],
    [
      'regressionMetrics',
      { y: [2, 2, null], yhat: [1, 3, 9] },
      { status: 'constant_target', mae: 1, rmse: 1, r2: null },
    ],
    ['quantiles', empty, { status: 'no_data', q: [null] }],
    ['quantiles', { x: [3, null], probs: [0, 1, 1.5, null] }, { q: [3, 3, null, null] }],
    ['binomialCI', empty, { status: 'no_data', wilson: null, clopperPearson: null }],
    ['binomialCI', { k: 6, n: 5 }, { status: 'invalid', wilson: null }],
    ['adjustP', empty, { bh: [], holm: [] }],
    ['adjustP', { p: [0.01, null, 0.5] }, { bh: [0.02, null, 0.5], holm: [0.02, null, 0.5] }],
    ['fairness', empty, { status: 'no_data', demographicParityDiff: null, disparateImpact: null }],
    [
      'fairness',
      { group: ['a', 'a'], y: [1, 0], yhat: [1, 0] },
      { status: 'one_group', demographicParityDiff: null },
    ],
    [
      'fairness',
      { group: ['a', 'a', 'b'], y: [1, 0, 0], yhat: [0, 0, 0] },
      {
        disparateImpact: null,
        equalOpportunityDiff: null,
        equalizedOddsDiff: null,
        demographicParityDiff: 0,
      },
    ],
    ['cbpe', empty, { status: 'no_data', accuracy: null, auc: null }],
    [
      'cbpe',
      { p: [0, 0], yhat: [0, 0] },
      { precision: null, recall: null, f1: null, auc: null, accuracy: 1 },
    ],
    ['cbpe', { p: [1.2], yhat: [1] }, { status: 'invalid', tp: null }],
    ['eRate', empty, { status: 'no_data', logE: [], maxLogE: null, rejectAt01: false }],
    [
      'eRate',
      {
        ticks: [
          [0, 9, 0, 1],
          [9, 0, 1, 0],
          [null, 1, 1, 1],
        ],
      },
      { logE: [0, 0, 0], maxLogE: 0 },
    ],
    ['eRate', { ticks: [[5, 9, 6, 0]] }, { status: 'invalid', maxLogE: null }],
    ['eRate', { ticks: [[5, 9, 1, 0]], r0: 0 }, { status: 'invalid', maxLogE: null }],
    ['ePaired', { b: null, c: 1 }, { status: 'invalid', logE: null }],
    ['eGuard', { x: 0, n: 0, p0: 0.02 }, { logE: 0, rollbackAt001: false }],
    ['eGuard', { x: 1, n: 3, p0: 0 }, { status: 'invalid', logE: null, rollbackAt001: false }],
    ['eGuard', { x: 5, n: 3, p0: 0.02 }, { status: 'invalid', logE: null }],
    ['eNonInferiority', { nMinus: 1, nZero: 0, nPlus: 0, margin: 1 }, { status: 'invalid', logE: null }],
    ['eDelayedStart', { ticks: [], starts: [] }, { logE: 0, plainLogE: 0 }],
    ['eDelayedStart', { ticks: [], starts: [0.5] }, { status: 'invalid', logE: null }],
  ] as [string, unknown, Record<string, unknown>][])('%s of %j', (fn, input, expected) => {
    expect(ask(fn, input)).toMatchObject(expected)
  })
})

describe('the responses to invalid lines', () => {
  it.each([
    ['{bad', { id: null, error: expect.stringContaining('JSON') as string }],
    ['5', { id: null, error: expect.stringContaining('object') as string }],
    ['{"id":7,"fn":"nope","input":{}}', { id: 7, error: expect.stringContaining('nope') as string }],
    [
      '{"id":7,"fn":"constructor","input":{}}',
      { id: 7, error: expect.stringContaining('unknown') as string },
    ],
    ['{"id":7,"fn":"auc","input":null}', { id: 7, error: expect.stringContaining('input') as string }],
    [
      '{"id":7,"fn":"auc","input":{"y":[1]}}',
      { id: 7, error: expect.stringContaining('input.s ') as string },
    ],
    [
      '{"id":7,"fn":"auc","input":{"y":["1"],"s":[1]}}',
      { id: 7, error: expect.stringContaining('input.y ') as string },
    ],
  ])('%s', (line, expected) => expect(answer(line)).toEqual(expected))

  it('columns may come in any order', () => {
    const ticks = [[1, 50, 5, 950]]
    const columns = ['xCanary', 'nCanary', 'xControl', 'nControl']
    expect(ask('eRate', { ticks, columns })).toEqual(ask('eRate', { ticks: [[50, 950, 1, 5]] }))
  })

  it('a pipe gives one line of JSON for each line and nothing else', async () => {
    const path = fileURLToPath(new URL('./answer-lines.ts', import.meta.url))
    const output = await new Promise<string>((resolve, reject) => {
      const child = execFile(process.execPath, ['--import', 'tsx', path], (error, stdout, stderr) =>
        error || stderr ? reject(error ?? new Error(stderr)) : resolve(stdout),
      )
      child.stdin!.end('{"id":"a","fn":"mcnemar","input":{"b":1,"c":0}}\n\n{bad\n')
    })
    const lines = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: unknown })
    expect(lines.map(({ id }) => id)).toEqual(['a', null])
  })
})
