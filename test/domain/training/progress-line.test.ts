/** Tests the parsing of lines of a training program: progress, a part of its work, or neither. */
import { expect, it } from 'vitest'
import { parseProgressLine } from '../../../domain/training/progress-line.ts'

it('a part has a name and two times in order, and a name of bounded length', () => {
  const part = { startMs: 1_767_225_600_000.25, endMs: 1_767_225_601_000 }
  const line = (given: object) => parseProgressLine(JSON.stringify(given))
  expect(line({ part: 'tune', ...part })).toEqual({ part: { name: 'tune', ...part, error: undefined } })
  expect(line({ part: 'x'.repeat(500), ...part, error: 'no \u001b[31mroom' })).toMatchObject({
    part: { name: 'x'.repeat(100), error: expect.not.stringContaining('\u001b') as string },
  })
})

it.each([
  '{"part": "", "startMs": 1, "endMs": 2}',
  '{"part": 3, "startMs": 1, "endMs": 2}',
  '{"part": "fit", "startMs": 2, "endMs": 1}',
  '{"part": "fit", "startMs": -1, "endMs": 1}',
  '{"part": "fit", "startMs": "1", "endMs": 2}',
  '{"part": "fit", "startMs": 1, "endMs": 1e300}',
])('%s is not a part', (line) =>
  expect(parseProgressLine(line)).toEqual({ issue: `"part" needs "startMs" and a later "endMs": ${line}` }),
)

it('progress has an epoch of epochs', () => {
  expect(parseProgressLine('{"epoch": 1, "epochs": 2, "loss": 0.5}')).toMatchObject({ epoch: 1, loss: 0.5 })
  expect(parseProgressLine('{"epoch": 0, "epochs": 2}')).toHaveProperty('issue')
  expect(parseProgressLine('done')).toEqual({ issue: 'no JSON: done' })
})
