/** Tests the options of a batch, and the label of a prediction. */
import { describe, expect, it } from 'vitest'
import {
  predictedText,
  issueOfForeignPath,
  issueOfPath,
  issuesOfBatch,
} from '../../../domain/model/batch-spec.ts'

const file = (path: string) => ({ kind: 'file', path }) as const
const sound = { input: file('in.csv'), output: file('out/2026/a.parquet'), key: ['id'] }

describe('a batch', () => {
  it('is valid', () => expect(issuesOfBatch(sound)).toEqual([]))

  it.each([
    ['/etc/in.csv', 'is not a path'],
    ['../in.csv', 'leads elsewhere'],
    ['a/../../in.csv', 'leads elsewhere'],
    ['a/./in.csv', 'leads elsewhere'],
    ['a//in.csv', 'is not a path'],
    ["a'; drop.csv", 'is not a path'],
    ['', 'is not a path'],
    [`${'a/'.repeat(300)}in.csv`, 'is not a path'],
    ['in.json', 'does not end in .parquet or .csv'],
  ])('does not read %j', (path, said) => expect(issueOfPath(path, ['.parquet', '.csv'])).toContain(said))

  it.each([
    ['select 1; drop table audit', 'one SELECT'],
    ['delete from audit', 'one SELECT'],
    ['copy audit to program $$rm$$', 'one SELECT'],
  ])('does not ask %j', (query, said) =>
    expect(issuesOfBatch({ ...sound, input: { kind: 'sql', query } }).join()).toContain(said),
  )

  it.each([
    ['input', { input: file('other/in.csv') }, 'other/in.csv'],
    ['output', { output: file('other/a.parquet') }, 'other/a.parquet'],
    ['output', { output: file('iris2/a.parquet') }, 'iris2/a.parquet'],
    ['output', { output: file('a.parquet') }, 'a.parquet'],
  ])('of a key of some models has no %s outside of the folder of its model: %j', (_what, given, named) => {
    const own = { input: file('iris/in.csv'), output: file('iris/{date}/a.parquet') }
    expect(issueOfForeignPath('iris', own)).toBeUndefined()
    expect(issueOfForeignPath('iris', { input: { kind: 'sql', query: '' }, output: { kind: 'table' } })).toBe(
      undefined,
    )
    expect(issueOfForeignPath('iris', { ...own, ...given })).toContain(`not ${named}`)
  })

  it('neither replaces its input nor names columns of the output', () => {
    expect(issuesOfBatch({ ...sound, input: file('a.parquet'), output: file('a.parquet') })).toEqual([
      'the output would replace the input',
    ])
    expect(issuesOfBatch({ ...sound, key: ['row', 'id', 'id'] })).toEqual([
      'a column of the key stands twice',
      'the output has columns row of its own',
    ])
    expect(issuesOfBatch({ ...sound, output: file('a.csv') })).toEqual(['"a.csv" does not end in .parquet'])
  })
})

describe('the label of a prediction', () => {
  it('is by the threshold, the most likely class, or absent', () => {
    const yes = { kind: 'probability', positive: 'late', threshold: 0.4 } as const
    expect([predictedText(yes, [0.4]), predictedText(yes, [0.39])]).toEqual(['true', 'false'])
    expect(predictedText({ kind: 'classes', classes: ['a', 'b', 'c'] }, [0.2, 0.5, 0.3])).toBe('b')
    expect(predictedText({ kind: 'number' }, [7])).toBeNull()
  })
})
