import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isError } from '../../domain/errors.ts'
import { command, python, queue } from '../../models/define.ts'
import { compileServe, compileTrainer } from '../../models/define/trainer.ts'
import { loadModel, modelsDirectory } from '../../models/index.ts'

function compiled(train: unknown) {
  const issues: string[] = []
  const trainer = compileTrainer((place, message) => issues.push(`${place}: ${message}`), train)
  return { trainer, issues }
}

describe('the words of a training program', () => {
  it('become data of the definition', () => {
    const options = { memory: '2 GB', limit: '2 h', silence: '90 s' } as const
    const limits = { memoryMb: 2_048, limitMs: 7_200_000, silenceMs: 90_000 }
    const needs = { requirements: 'a/requirements.txt', interpreter: 'python3.12' }
    expect(compiled(python('a/train.py', { ...needs, ...options }))).toEqual({
      trainer: { kind: 'python', file: 'a/train.py', ...needs, ...limits },
      issues: [],
    })
    expect(compiled(command(['Rscript', 'train.R'], options)).trainer).toEqual({
      kind: 'command',
      command: ['Rscript', 'train.R'],
      ...limits,
    })
    expect(compiled(queue('gpu')).trainer).toEqual({ kind: 'queue', queue: 'gpu' })
    expect(compiled(() => {})).toEqual({ trainer: undefined, issues: [] })
  })

  it('may name an interpreter by its absolute path', () => {
    expect(compiled(python('train.py', { interpreter: '/opt/python3.12/bin/python3' })).issues).toEqual([])
  })

  it.each([
    [
      'a relative interpreter',
      python('train.py', { interpreter: 'venv/bin/python' }),
      /^train\.interpreter: a command such/,
    ],
    [
      'an interpreter with arguments',
      python('train.py', { interpreter: 'python3 -O' }),
      /^train\.interpreter: /,
    ],
    ['no trainer', 'train.py', /^train: a function is required, or python/],
    ['an absolute path', python('/srv/train.py'), /^train: a path inside the folder of the model file/],
    ['a path that leads out', python('../train.py'), /^train: a path inside the folder of the model file/],
    [
      'requirements that lead out',
      python('train.py', { requirements: 'a/../../r.txt' }),
      /^train\.requirements: /,
    ],
    ['a command without a program', command([]), /^train: a program and its arguments are required/],
    ['a command as one text', command('Rscript train.R' as never), /^train: a program and its arguments/],
    ['an argument that is a number', command(['R', 1 as never]), /^train: a program and its arguments/],
    ['a queue with a blank', queue('my gpu'), /^train: the name of a task queue has/],
    [
      'an unknown option',
      python('train.py', { memroy: '2 GB' } as never),
      /^train: has no field memroy: did you mean memory\?$/,
    ],
    ['memory without a unit', python('train.py', { memory: 2 as never }), /^train\.memory: at least '64 MB'/],
    [
      'a limit that is not a duration',
      python('train.py', { limit: 'long' as never }),
      /^train\.limit: a duration/,
    ],
    [
      'options that are a text',
      python('train.py', 'requirements.txt' as never),
      /^train: options are required/,
    ],
  ])('are refused with %s', (_what, train, issue) => {
    expect(compiled(train).issues).toEqual([expect.stringMatching(issue)])
  })
})

describe('the word of the file that answers', () => {
  const train = compiled(python('train.py')).trainer
  function served(serve: unknown, trainer = train) {
    const issues: string[] = []
    const file = compileServe((place, message) => issues.push(`${place}: ${message}`), serve, trainer)
    return { file, issues }
  }

  it('is its path', () => {
    expect(served(python('parts/serve.py'))).toEqual({ file: 'parts/serve.py', issues: [] })
    expect(served(undefined)).toEqual({ file: undefined, issues: [] })
  })

  it.each([
    ['a text', 'serve.py', train, /^serve: python\('serve\.py'\) is required, not "serve\.py"$/],
    ['null', null, train, /^serve: python\('serve\.py'\) is required, not null$/],
    ['a command', command(['serve']), train, /^serve: python\('serve\.py'\) is required/],
    ['options', python('serve.py', { limit: '1 h' }), train, /^serve: python\('serve\.py'\) without options/],
    ['a path that leads out', python('../serve.py'), train, /^serve: a path inside the folder/],
    ['a training on a queue', python('serve.py'), compiled(queue('gpu')).trainer, /^serve: train: python/],
  ])('is refused with %s', (_what, serve, trainer, issue) => {
    expect(served(serve, trainer).issues).toEqual([expect.stringMatching(issue)])
  })
})

describe('a model file with a training program', () => {
  let root: string
  let models: string
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(models, path)), { recursive: true })
    await writeFile(join(models, path), text)
  }
  const modelFile = (train: string) => `
import { command, csv, defineModel, direct, number, python, quantity, random } from '${modelsDirectory}define.ts'
export const price = defineModel({
  name: 'price', features: { size: number() }, label: quantity(), source: csv('models/data/iris.csv'),
  split: random({ test: 0.25 }), train: ${train}, evaluation: { primary: 'mae', floors: { mae: 5 } }, release: direct(),
})`
  const digestWith = async (train: string) => {
    await write('price.ts', modelFile(train))
    return (await loadModel('price', models)).codeDigest
  }
  const issuesWith = (train: string) =>
    digestWith(train).then(
      () => [],
      (error: unknown) => (isError(error, 'invalid_model_file') ? error.context['issues'] : error),
    )

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'tenure-trainer-'))
    models = join(root, 'models')
    await write('package.json', '{"type": "module"}')
    await write('price/train.py', 'print(1)')
    await write('price/requirements.txt', 'lightgbm==4.7.0')
    await write('price/parts/shape.py', 'x = 1')
    await write('train.py', 'print(1)')
    await write('other.py', 'print(1)')
    await writeFile(join(root, 'outside.py'), 'print(1)')
  })
  afterAll(() => rm(root, { recursive: true }))

  it('has a code digest that covers the script, its requirements and the files beside it', async () => {
    const train = `python('price/train.py', { requirements: 'price/requirements.txt' })`
    const first = await digestWith(train)
    expect(await digestWith(train)).toBe(first)
    const changes = [
      ['price/train.py', 'print(2)'],
      ['price/requirements.txt', 'lightgbm==4.6.0'],
      ['price/parts/shape.py', 'x = 2'],
    ] as const
    const digests = new Set([first])
    for (const [path, text] of changes) {
      await write(path, text)
      digests.add(await digestWith(train))
    }
    expect(digests.size).toBe(4)
    const last = await digestWith(train)
    await write('price/__pycache__/shape.cpython-311.pyc', 'made by Python')
    await write('price/catboost_info/learn_error.tsv', 'made by CatBoost')
    await write('other.py', 'print(2)')
    expect(await digestWith(train)).toBe(last)
  })

  it('has a code digest that covers the file that answers', async () => {
    const train = `python('price/train.py'), serve: python('serving/serve.py')`
    expect(await issuesWith(train)).toEqual([
      'serve: there is no file serving/serve.py in the folder of the model file: correct the path',
    ])
    await write('serving/serve.py', 'print(1)')
    const first = await digestWith(train)
    await write('serving/serve.py', 'print(2)')
    expect(await digestWith(train)).not.toBe(first)
  })

  it('covers of the folder of the model files only files of the same kind', async () => {
    const first = await digestWith(`command(['python3', 'train.py'])`)
    await write('notes.txt', 'changed')
    expect(await digestWith(`command(['python3', 'train.py'])`)).toBe(first)
    await write('other.py', 'print(3)')
    expect(await digestWith(`command(['python3', 'train.py'])`)).not.toBe(first)
  })

  it('is refused when the script is missing or lies outside of its folder', async () => {
    expect(await issuesWith(`python('absent.py')`)).toEqual([
      'train: there is no file absent.py in the folder of the model file: correct the path',
    ])
    expect(await issuesWith(`python('train.py', { requirements: 'absent.txt' })`)).toEqual([
      'train: there is no file absent.txt in the folder of the model file: correct the path',
    ])
    await symlink(join(root, 'outside.py'), join(models, 'linked.py'))
    expect(await issuesWith(`python('linked.py')`)).toEqual([
      'train: linked.py leads out of the folder of the model file: move it there',
    ])
    expect(await issuesWith(`python('train.py')`)).toEqual([
      expect.stringMatching(
        /^train: linked\.py beside train\.py is a link out of the folder of the model file/,
      ),
    ])
    await rm(join(models, 'linked.py'))
  })

  it('covers what links inside the folder lead to, also a link to a folder above', async () => {
    await write('shared/helper.py', 'V = 1')
    await symlink(join(models, 'shared'), join(models, 'price', 'shared'))
    await symlink(join(models, 'price'), join(models, 'price', 'parts', 'again'))
    const first = await digestWith(`python('price/train.py')`)
    await write('shared/helper.py', 'V = 2')
    expect(await digestWith(`python('price/train.py')`)).not.toBe(first)
    for (const link of ['shared', 'parts/again']) await rm(join(models, 'price', link))
  })

  it('of a command covers the folders that it names, and is refused without a file', async () => {
    const digests = new Set<string>()
    const trains = [
      `command(['python3', '-m', 'shared.helper'], { files: ['shared'] })`,
      `command(['make', '-C', 'shared'])`,
    ]
    for (const [at, train] of trains.entries()) {
      await write('shared/helper.py', `V = ${3 + 2 * at}`)
      digests.add(await digestWith(train))
      await write('shared/helper.py', `V = ${4 + 2 * at}`)
      digests.add(await digestWith(train))
    }
    expect(digests.size).toBe(4)
    expect(await issuesWith(`command(['python3', '-m', 'shared.helper'])`)).toEqual([
      expect.stringMatching(/^train: no argument of the command is a file .* name its files or folders/),
    ])
    expect(await issuesWith(`command(['trainer'], { files: ['absent'] })`)).toEqual([
      'train: there is no file absent in the folder of the model file: correct the path',
    ])
    expect(await digestWith(`command(['trainer'], { files: [] })`)).toMatch(/^sha256:/)
  })

  it('is refused for a file whose name is not UTF-8', async () => {
    const name = Buffer.concat([Buffer.from(join(models, 'price/caf')), Buffer.from([0xe9])])
    await writeFile(name, '')
    expect(await issuesWith(`python('price/train.py')`)).toEqual([
      'train: the name of price/caf\ufffd is not UTF-8: rename the file',
    ])
    await rm(name)
  })
})
