/** Defines the programs that train a model in place of a function: `python(…)`, `command([…])` and `queue(…)`. */
import type { Trainer } from '../../domain/training/trainer.ts'
import { durationAt, type Duration } from './duration.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'

export interface ProgramOptions {
  /** Memory limit of each process of the program: `'8 GB'`. Default: TENURE_TRAINING_MEMORY_MB. */
  memory?: `${number} ${'MB' | 'GB'}`
  /** Time limit of an attempt; a longer one fails the training. Default: 24 hours. */
  limit?: Duration
  /** Time without output after which an attempt is ended and retried. Default: 30 minutes. */
  silence?: Duration
}

export interface PythonOptions extends ProgramOptions {
  /** The packages of the script, as a pip requirements file beside it. Without it, the script runs with those of the interpreter. */
  requirements?: string
  /** The Python of the script: a command on the PATH of the training worker, such as `python3.12`, or an absolute path. Default: `python3`. */
  interpreter?: string
}

export interface CommandTrainerOptions extends ProgramOptions {
  /**
   * Files and folders of the program that no argument names: `['trainer']`; `[]` for an installed program. A change of them makes other
   * code of the model. Required when no argument is a file or folder.
   */
  files?: readonly string[]
}

/** The workers of the queue limit the memory and the silence of their programs themselves. */
export type QueueOptions = Pick<ProgramOptions, 'limit'>

export type TrainerSpec =
  | { kind: 'python'; file: string; options: PythonOptions }
  | { kind: 'command'; command: readonly string[]; options: CommandTrainerOptions }
  | { kind: 'queue'; queue: string; options: QueueOptions }

/** Trains with a Python script in the folder of the model file: `python('train.py', { requirements: 'requirements.txt' })`. */
export function python(file: string, options: PythonOptions = {}): TrainerSpec {
  return { kind: 'python', file, options }
}

/** Trains with any other program, run in the folder of the model file: `command(['Rscript', 'train.R'])`. */
export function command(argv: readonly string[], options: CommandTrainerOptions = {}): TrainerSpec {
  return { kind: 'command', command: argv, options }
}

/** Trains on your own workers, which run the activity `train` on this Temporal task queue: `queue('gpu')`. */
export function queue(name: string, options: QueueOptions = {}): TrainerSpec {
  return { kind: 'queue', queue: name, options }
}

const limitNames = { memory: 0, limit: 0, silence: 0 } as const
const optionsOf = {
  python: fieldNames<PythonOptions>({ requirements: 0, interpreter: 0, ...limitNames }),
  command: fieldNames<CommandTrainerOptions>({ files: 0, ...limitNames }),
  queue: fieldNames<QueueOptions>({ limit: 0 }),
}

const maxArguments = 100

/** Returns the trainer of a model file as data; undefined for a training function. */
export function compileTrainer(report: IssueCollector, train: unknown): Trainer | undefined {
  if (typeof train === 'function') return undefined
  const spec = train as TrainerSpec | undefined
  if (typeof spec !== 'object' || spec === null || !(spec.kind in optionsOf)) {
    report(
      'train',
      "a function is required, or python('train.py'), command(['Rscript', 'train.R']) or queue('gpu')",
    )
    return undefined
  }
  const options: ProgramOptions = spec.options
  if (typeof options !== 'object' || options === null) {
    report(
      'train',
      `options are required, as in ${spec.kind}(…, { limit: '2 h' }), not ${JSON.stringify(options)}`,
    )
    return undefined
  }
  reportUnknown(report, 'train', options, optionsOf[spec.kind])
  const duration = (name: 'limit' | 'silence') =>
    options[name] === undefined ? undefined : durationAt(report, `train.${name}`, options[name])
  const limits = {
    memoryMb: options.memory === undefined ? undefined : memoryAt(report, options.memory),
    limitMs: duration('limit'),
    silenceMs: duration('silence'),
  }
  if (spec.kind === 'queue') {
    if (typeof spec.queue !== 'string' || !/^[\w.-]{1,100}$/.test(spec.queue))
      report(
        'train',
        `the name of a task queue has up to 100 letters, digits, -, _ and ., not ${JSON.stringify(spec.queue)}`,
      )
    return { kind: spec.kind, queue: spec.queue, limitMs: limits.limitMs }
  }
  if (spec.kind === 'command') {
    const argv: readonly unknown[] = Array.isArray(spec.command) ? spec.command : []
    if (argv.length === 0 || argv.length > maxArguments || !argv.every(isArgument))
      report(
        'train',
        `a program and its arguments are required, as in command(['Rscript', 'train.R']), not ${JSON.stringify(spec.command)}`,
      )
    const files: readonly unknown[] | undefined = spec.options.files
    if (files !== undefined && !Array.isArray(files))
      report(
        'train.files',
        `a list of files and folders is required, such as ['trainer'], not ${JSON.stringify(files)}`,
      )
    else for (const path of files ?? []) checkPath(report, 'train.files', path, 'trainer')
    return {
      kind: spec.kind,
      command: argv.map(String),
      files: Array.isArray(files) ? files.map(String) : undefined,
      ...limits,
    }
  }
  const { requirements, interpreter } = spec.options
  checkPath(report, 'train', spec.file, 'train.py')
  if (requirements !== undefined) checkPath(report, 'train.requirements', requirements, 'requirements.txt')
  if (interpreter !== undefined && !(isArgument(interpreter) && /^(\/|[\w.+-]+$)/.test(interpreter)))
    report(
      'train.interpreter',
      `a command such as 'python3.12' or an absolute path is required, not ${JSON.stringify(interpreter)}`,
    )
  return { kind: spec.kind, file: spec.file, requirements, interpreter, ...limits }
}

/** Returns the path of the file whose code answers; undefined without one. */
export function compileServe(
  report: IssueCollector,
  serve: unknown,
  trainer: Trainer | undefined,
): string | undefined {
  if (serve === undefined) return undefined
  const { kind, file, options } = Object(serve) as { kind?: unknown; file?: unknown; options?: object }
  if (kind !== 'python') {
    report('serve', `python('serve.py') is required, not ${JSON.stringify(serve)}`)
    return undefined
  }
  if (Object.keys(options ?? {}).length > 0)
    report('serve', "python('serve.py') without options is required: it answers with the packages of train")
  if (trainer?.kind !== 'python')
    report(
      'serve',
      "train: python(…) is required, whose job.save('folder') stores the file: another program puts serve.py into its folder by itself",
    )
  checkPath(report, 'serve', file, 'serve.py')
  return String(file)
}

const isArgument = (value: unknown): boolean =>
  typeof value === 'string' && value !== '' && value.length <= 4_096 && !value.includes('\0')

function checkPath(report: IssueCollector, place: string, path: unknown, example: string): void {
  if (
    typeof path !== 'string' ||
    path === '' ||
    path.length > 500 ||
    /^\/|^[a-z]+:|(^|\/)\.\.(\/|$)|[\\\0]/i.test(path)
  )
    report(
      place,
      `a path inside the folder of the model file is required, such as '${example}', not ${JSON.stringify(path)}`,
    )
}

/** Returns the MiB of a text such as '8 GB'; 0 for an invalid text. */
function memoryAt(report: IssueCollector, text: unknown): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?) ?(MB|GB)$/.exec(String(text).trim()) ?? []
  const mb = Math.round(Number(amount ?? 0) * (unit === 'GB' ? 1_024 : 1))
  if (mb < 64)
    report('train.memory', `at least '64 MB' is required, as in '8 GB', not ${JSON.stringify(text)}`)
  return mb
}
