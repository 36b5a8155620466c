/** Tests which sent files need an approval: those that differ from the files in use in more than settings. */
import { expect, it } from 'vitest'
import { changedFiles, codeChange } from '../../../domain/installation/model-files.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

const definition = {
  name: 'churn',
  label: { column: 'left', output: { kind: 'probability', positive: 'left', threshold: 0.4 } },
  evaluation: { policy: { floors: { auc: 0.7 } } },
  source: { rows: 'select * from source' },
} as unknown as ModelDefinition
const files = { 'churn.ts': 'sha256:1', 'train.py': 'sha256:2' }
const before = { definition, files }
const withOutput = (more: object) =>
  ({
    ...definition,
    label: { ...definition.label, output: { ...definition.label.output, ...more } },
  }) as ModelDefinition

it.each([
  [
    'a changed program',
    { definition, files: { ...files, 'train.py': 'sha256:3' } },
    'the code of train.py was changed',
  ],
  ['a new file', { definition, files: { ...files, 'x.py': 'sha256:3' } }, 'the code of x.py was added'],
  ['a file less', { definition, files: { 'churn.ts': 'sha256:1' } }, 'the code of train.py was removed'],
  [
    'a source that depends on more than the code',
    { definition: { ...definition, source: { rows: 'select 1' } } as unknown as ModelDefinition, files },
    'source.rows of its definition has changed',
  ],
  [
    'another positive class',
    { definition: withOutput({ positive: 'x' }), files },
    'label.output.positive of',
  ],
  [
    'SQL that only the definition has',
    {
      definition: {
        ...definition,
        evaluation: { policy: { floors: { auc: 0.7 } }, slices: [{ where: 'true' }] },
      } as unknown as ModelDefinition,
      files,
    },
    'evaluation.slices',
  ],
])('%s needs an approval', (_, after, why) => expect(codeChange(before, after)).toContain(why))

it('the first files of a model need an approval', () =>
  expect(codeChange(undefined, before)).toContain('none of its files'))

it('a changed floor and a changed threshold need none', () => {
  const evaluation = {
    policy: { floors: { auc: 0.8, brier: 0.2 } },
  } as unknown as ModelDefinition['evaluation']
  const after = { ...withOutput({ threshold: 0.5 }), evaluation } as ModelDefinition
  expect(codeChange(before, { definition: after, files })).toBeUndefined()
  expect(changedFiles(files, files)).toEqual([])
})
