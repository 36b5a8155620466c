/** Tests what a brought folder of code says about itself, and the description with which its file is written. */
import { describe, expect, it } from 'vitest'
import { pythonFileOf, readBroughtCode } from '../../../domain/model/brought-code.ts'
import { rolesOfStart } from '../../../domain/starts.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

const read = (files: Record<string, string>) =>
  readBroughtCode(new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)])))
const lines = (text: string) => read({ 'serve.py': '', 'requirements.txt': text }).requirements

describe('a brought folder', () => {
  it('names what answers, its packages and its interpreter', () => {
    const mlflow = 'flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n'
    const files = { MLmodel: mlflow, 'requirements.txt': 'numpy\n', 'python_env.yaml': 'python: 3.11.7\n' }
    expect(read(files)).toEqual({
      library: 'MLflow folder (mlflow.sklearn)',
      requirements: ['numpy'],
      interpreter: 'python3.11',
    })
    expect(read({ 'model.joblib': '', 'requirements.txt': '' }).library).toBe('model.joblib')
    expect(read({ 'serve.py': '', 'model.pkl': '', 'requirements.txt': '' }).library).toBe('serve.py')
  })

  it('lists packages of the index, with comments', () =>
    expect(
      lines(
        "# made by hand\nnumpy==2.4.6  # fast\n\nmlflow>=2.1,<3\nxgboost[all]~=3.2; python_version < '3.12'\n",
      ),
    ).toEqual(['numpy==2.4.6', 'mlflow>=2.1,<3', "xgboost[all]~=3.2; python_version < '3.12'"]))

  it.each([
    '-r /etc/passwd',
    '--index-url https://example.org',
    '-e .',
    './package',
    'package.whl @ file:///tmp/package.whl',
    'evil @ https://example.org/evil.whl',
    'git+https://example.org/evil',
    'numpy==1 --hash=sha256:0',
    '/opt/package.whl',
    'numpy; "${PIP_INDEX_URL}',
    `a${'==1'.repeat(20)}/`,
  ])('is refused with the line %s', (line) =>
    expect(() => lines(`numpy\n${line}\n`)).toThrow(
      /requirements\.txt has the line .*: list packages of the index/,
    ),
  )

  it('is refused with two pickles', () =>
    expect(() => read({ 'a.pkl': '', 'b.joblib': '', 'requirements.txt': '' })).toThrow(
      'it has several pickles, "a.pkl", "b.joblib": register the one that answers, or add a serve.py that loads them',
    ))

  it.each(['model.pkl', 'model.sav', 'model.p', 'model.pkl.gz', 'model.joblib.z', 'MODEL.PKL'])(
    'is a pickle by the name %s',
    (name) => {
      expect(read({ [name]: '', 'requirements.txt': '' }).library).toBe(name)
    },
  )

  it.each(['model.cbm', 'model.pmml', 'model.json', 'model.skops'])(
    'is refused with %s, by its name and with what to add',
    (name) => {
      expect(() => read({ [name]: '', 'requirements.txt': '' })).toThrow(
        `"${name}" is no pickle by its name (.pkl, .pickle, .joblib, .sav, .p): register a folder with it and a serve.py that loads it`,
      )
    },
  )
})

describe('the file of a brought folder', () => {
  const definition = {
    features: {
      colour: { kind: 'category' },
      raw: { kind: 'number', use: 'prepare' },
      size: { kind: 'number' },
      scan: { kind: 'image' },
    },
    featureOrder: ['size', 'raw', 'colour', 'scan'],
    label: { output: { kind: 'classes', classes: ['b', 'a'] } },
  } as unknown as ModelDefinition
  const code = { library: 'serve.py', requirements: [] }
  const packages = { python: '3.11.7', numpy: '2.4.6' }
  const headOf = (given: Parameters<typeof pythonFileOf>[3]) => {
    const [mark, head, body] = pythonFileOf(Buffer.from('tar'), code, definition, given)
      .toString()
      .split('\n')
    expect([mark, body]).toEqual(['TENURE-PYTHON 1', 'tar'])
    return JSON.parse(head!) as object
  }

  it('has the features of the model in their order, and the classes in theirs', () =>
    expect(headOf({ packages })).toEqual({
      python: '3.11.7',
      packages: { numpy: '2.4.6' },
      library: 'serve.py',
      columns: [
        { name: 'size', isText: false },
        { name: 'colour', isText: true, kind: 'category', categories: null },
        { name: 'scan', isText: true, kind: 'image', categories: null },
      ],
      frames: false,
      outputs: 2,
      isOrdered: false,
      isFolder: true,
      task: { numbers: false, names: ['b', 'a'] },
    }))

  it('has the columns and categories of columns.json, and data frames with pandas', () =>
    expect(
      headOf({
        packages: { ...packages, pandas: '3.1.1' },
        declared: [{ name: 'colour', vocabulary: ['red'] }],
      }),
    ).toMatchObject({ columns: [{ name: 'colour', isText: true, categories: ['red'] }], frames: true }))

  it('is refused without NumPy', () =>
    expect(() => headOf({ packages: { python: '3.11.7' } })).toThrow('add numpy to requirements.txt'))
})

it('code is brought by those who may retrain and let code run', () => {
  expect(rolesOfStart('retrain', { artifact: { file: 'model.tar' } })).toEqual(['admin'])
  expect(rolesOfStart('retrain', { artifact: { file: 'model.txt' } })).toEqual(['operator', 'admin'])
  expect(rolesOfStart('retrain', {})).toEqual(['operator', 'admin'])
})
