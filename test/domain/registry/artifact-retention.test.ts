import { describe, expect, it } from 'vitest'
import { selectForDeletion, type ArtifactGroup } from '../../../domain/registry/artifact-retention.ts'

const lot = (
  digest: string,
  kind: ArtifactGroup['kind'],
  more: Partial<ArtifactGroup> & { bytes?: number } = {},
): ArtifactGroup => {
  const { bytes = 10, ...rest } = more
  return { digest, kind, files: new Map([[`file of ${digest}`, bytes]]), inUse: false, madeMs: 0, ...rest }
}
const given = (lots: ArtifactGroup[], budget: number) =>
  selectForDeletion(lots, budget).given.map(({ digest }) => digest)

describe('the artifacts deleted for a budget', () => {
  it('are an empty list when everything fits', () =>
    expect(selectForDeletion([lot('a', 'candidate'), lot('b', 'proven')], 20)).toEqual({
      given: [],
      beforeBytes: 20,
      afterBytes: 20,
    }))

  it('are the least valuable, the oldest among equals, and no more than required', () => {
    const lots = [
      lot('champion before', 'proven', { madeMs: 1 }),
      lot('never released', 'version', { madeMs: 1 }),
      lot('new candidate', 'candidate', { madeMs: 9 }),
      lot('old candidate', 'candidate', { madeMs: 1 }),
      lot('rows of nothing', 'snapshot', { madeMs: 5 }),
    ]
    const order = ['rows of nothing', 'old candidate', 'new candidate', 'never released', 'champion before']
    for (let count = 0; count <= order.length; count++)
      expect(given(lots, 50 - 10 * count)).toEqual(order.slice(0, count))
  })

  it('are never in use, and then the budget is exceeded', () =>
    expect(
      selectForDeletion([lot('live', 'proven', { inUse: true, bytes: 99 }), lot('b', 'version')], 10),
    ).toMatchObject({
      given: [{ digest: 'b' }],
      afterBytes: 99,
    }))

  it('free a file with its last reference', () => {
    const shared = (digest: string, madeMs: number): ArtifactGroup => ({
      ...lot(digest, 'version', { madeMs }),
      files: new Map([
        ['topology', 100],
        [digest, 1],
      ]),
    })
    expect(selectForDeletion([shared('a', 1), shared('b', 2)], 101)).toMatchObject({
      given: [{ digest: 'a' }],
      afterBytes: 101,
    })
    expect(selectForDeletion([shared('a', 1), shared('b', 2)], 100)).toMatchObject({ afterBytes: 0 })
  })

  it('include a snapshot with its last artifact', () => {
    const lots = [
      lot('rows', 'snapshot'),
      lot('first', 'candidate', { madeMs: 1, standsOn: ['rows'] }),
      lot('second', 'candidate', { madeMs: 2, standsOn: ['rows'] }),
    ]
    expect(given(lots, 20)).toEqual(['first'])
    expect(given(lots, 10)).toEqual(['first', 'second', 'rows'])
    const read = lots.map((each) => (each.kind === 'snapshot' ? { ...each, inUse: true } : each))
    expect(given(read, 0)).toEqual(['first', 'second'])
  })
})
