/** Generates the reference page of model files from the comments of the code. */
import { readDeclarations, type Declarations, type Member } from './members.ts'
import { markdownCode, markdownTable } from '../../../test/support/docs/markdown-table.ts'

interface Part {
  title: string
  about?: string
  file: string
  /** Interfaces to list, each with an introduction; `yesNo()` means the options of that function. */
  types?: readonly (readonly [type: string, before: string])[]
  /** Functions to list; 'all' means every exported one. */
  calls?: readonly string[] | 'all'
  /** Whether the arguments of the functions are shown. */
  isCalledWith?: true
  /** Fields that a model file does not set. */
  omit?: readonly string[]
}

const define = (name: string) => `models/define/${name}.ts`
const parts: readonly Part[] = [
  {
    title: 'The file',
    about:
      'A file in `models/`, named like the model, exports the result of `defineModel({ … })` with these fields.',
    file: define('model'),
    types: [['ModelFile', '']],
  },
  {
    title: 'Features',
    about:
      'Names begin with a letter and have letters, digits and _ only. A feature that [`lookup`](#features-of-views) makes comes from a view.',
    file: 'domain/model/features.ts',
    omit: ['from', 'sql', 'use'],
    types: [
      ['NumberFeature', '`number({ … })`:'],
      ['CategoryFeature', "`category(['red', 'green'])`, or `category({ … })`:"],
      ['TextFeature', '`text({ … })`, of free text ([who takes it](../how-to/texts.md)):'],
      [
        'VectorFeature',
        '`vector(384)`, or `vector(384, { … })`, of several numbers ([who takes it](../how-to/images-and-vectors.md)):',
      ],
      ['ImageFeature', '`image({ … })` ([who takes it](../how-to/images-and-vectors.md)):'],
      [
        'MediaFeature',
        'Texts, vectors and images also ([what works with a digest](../how-to/images-and-vectors.md#the-log)):',
      ],
      ['AnyFeature', 'Each also:'],
    ],
  },
  {
    title: 'Prepare',
    about:
      'Features that are computed from the fields of a row: [rules, failures and cost](../computed-features.md).',
    file: define('data/prepare'),
    types: [['PrepareSpec', '']],
  },
  {
    title: 'Feature views',
    about:
      'Values of entities that change over time, and features that come from them: [how they work](../features.md).',
    file: define('data/view'),
    calls: ['view'],
    types: [['ViewFile', 'It takes a name and:']],
  },
  {
    title: 'Features of views',
    file: define('data/lookup'),
    calls: ['lookup'],
    types: [['LookupOptions', 'It takes a view, the name of a value and:']],
  },
  {
    title: 'Label',
    file: define('label'),
    calls: ['yesNo', 'oneOf', 'quantity', 'quantities', 'quantiles', 'pinball'],
    isCalledWith: true,
    types: [
      ['LabelOptions', 'All labels take these options (`quantities` has no `column`):'],
      ['yesNo()', '`yesNo` also:'],
      ['oneOf()', '`oneOf` also:'],
      ['NumberOptions', '`quantity`, `quantities` and `quantiles` also:'],
    ],
  },
  {
    title: 'Source',
    about: 'All times are UTC. Paths are relative to the project.',
    file: define('data/source'),
    calls: ['csv', 'parquet', 'postgres', 'program', 'served'],
    types: [['SourceOptions', 'Each except `served` takes as its last argument:']],
  },
  {
    title: 'Served rows',
    about: 'Rows of the prediction log with their outcomes: [which there are](../how-to/train-on-served.md).',
    file: define('data/served'),
    types: [['ServedOptions', '`served` takes:']],
  },
  {
    title: 'Expectations',
    about:
      'Each blocks the batch unless it is wrapped in `warn(…)`. Limits are `min`, `max` or both, and include the ends. Checks of single rows take `{ mostly: 0.99 }`: the share of rows that must comply.',
    file: define('data/expect'),
    calls: 'all',
    isCalledWith: true,
  },
  {
    title: 'Weights',
    file: define('data/weights'),
    types: [['WeightsSpec', '`weights`:']],
  },
  {
    title: 'Split',
    file: define('split'),
    calls: 'all',
    types: [
      ['HashOptions', '`random` and `stratified` take:'],
      ['byTime()', '`byTime` takes:'],
    ],
  },
  {
    title: 'Train',
    about: '`train` receives these and returns the network.',
    file: define('model'),
    types: [
      ['Training', ''],
      ['FitOptions', '`fit` takes:'],
    ],
  },
  {
    title: 'Training programs',
    about:
      'In place of a function, `train` may name a program that trains. Paths are relative to the folder of the model file.',
    file: define('trainer'),
    calls: ['python', 'command', 'queue'],
    types: [
      ['ProgramOptions', '`python` and `command` take as the last argument, and `queue` takes `limit` only:'],
      ['PythonOptions', '`python` also:'],
      ['CommandTrainerOptions', '`command` also:'],
    ],
  },
  { title: 'Evaluation', file: define('evaluation'), types: [['EvaluationSpec', '']] },
  {
    title: 'Behaviour tests',
    about:
      'Answers that every version must give, as the list `tests`: [how to write them](../how-to/evaluation/behaviour-tests.md).',
    file: define('behaviour/tests'),
    calls: ['exact', 'invariance', 'direction'],
    types: [
      ['ExactSpec', 'Each takes a name, and `exact`:'],
      ['InvarianceSpec', '`invariance`:'],
      ['DirectionSpec', '`direction`:'],
      ['RowsOfTest', '`invariance` and `direction` also:'],
    ],
  },
  {
    title: 'Release',
    about: 'Times are texts such as `30 min`, `2 h` and `7 d`. [Policies](policy.md) describe each strategy.',
    file: define('release'),
    calls: ['canary', 'blueGreen', 'rolling', 'ab', 'shadow', 'direct', 'percent'],
    types: [
      ['CommonSpec', 'Every strategy takes:'],
      ['CanarySpec', '`canary`, `rolling`, and the others except the stages:'],
      ['StageOptions', 'A stage, as the second argument of `percent`:'],
      ['ProbationSpec', '`probation`, besides `soak`, `requests` and `deadline` as in a stage:'],
      ['ApprovalSpec', '`approval`:'],
      ['ShadowSpec', '`shadow`:'],
      ['AbSpec', '`ab`:'],
    ],
  },
  {
    title: 'Targeted callers',
    about:
      'Callers who meet the candidate before any share: [how they are counted](../how-to/releases/targeted-exposure.md). `first` of a canary:',
    file: define('release'),
    types: [['FirstSpec', '']],
  },
  {
    title: 'Business metrics',
    about:
      'What users do after their first request, as [`POST /v1/events`](../how-to/releases/business-metrics.md) reports it: `business: { revenue: event(…) }`.',
    file: define('release/event'),
    calls: ['event'],
    types: [['EventOptions', '`event` takes the name of the events and:']],
  },
  {
    title: 'External metrics',
    about:
      'What other systems measure of each arm, [asked by query](../how-to/releases/external-metrics.md): `external: { complaints: promql(…) }`. Each takes the name of a source, the query, and options.',
    file: define('release/external'),
    calls: ['promql', 'sqlQuery', 'webhook'],
    types: [['ExternalOptions', 'The options:']],
  },
  {
    title: 'Traffic',
    about:
      'The gateway that callers ask in place of this system: [how it is followed](../how-to/own-gateway.md).',
    file: define('traffic'),
    calls: ['haproxy', 'httpRoute', 'kserve', 'sagemaker'],
    types: [
      ['HaproxyOptions', '`haproxy` takes:'],
      ['KubernetesOptions', '`httpRoute` and `kserve` take:'],
      ['HttpRouteOptions', '`httpRoute` also takes:'],
      ['CounterOptions', '`metrics` takes:'],
      ['SagemakerOptions', '`sagemaker` takes:'],
    ],
  },
  { title: 'Drills', file: define('release'), types: [['DrillSpec', '`drill`:']] },
  {
    title: 'Retrain',
    about:
      '`{ every: … }` or `{ cron: … }`, in UTC; or a list with at most one schedule, [triggers](../how-to/projects/triggers.md), and one `{ then: compress(…) }`.',
    file: define('triggers/retrain'),
    calls: ['cron', 'compress'],
    types: [
      ['RetrainSpec', ''],
      ['CompressOptions', '`compress` takes the method and:'],
    ],
  },
  {
    title: 'Triggers',
    about:
      'New data and requests that start a retraining or a batch: `retrain: [cron(…), whenFile(…)]`, `when: […]` of a batch.',
    file: define('triggers/triggers'),
    calls: ['whenFile', 'whenWatermark', 'afterWorkflow', 'onWebhook'],
    types: [
      ['TriggerOptions', 'Each takes:'],
      ['SensorOptions', '`whenFile`, `whenWatermark` and `afterWorkflow` also:'],
      ['WatermarkOptions', '`whenWatermark`:'],
      ['WorkflowOptions', '`afterWorkflow`:'],
      ['WebhookOptions', '`onWebhook`:'],
    ],
  },
  {
    title: 'Batches',
    about:
      'Rows that the champion scores day by day or when a trigger fires: [how they work](../how-to/projects/batches.md).',
    file: define('triggers/batches'),
    calls: ['daily'],
    types: [
      ['ScheduledBatchSpec', 'Each batch has:'],
      ['DailyOptions', '`daily` takes:'],
    ],
  },
  { title: 'Monitor', file: define('monitor'), types: [['MonitorSpec', '']] },
  {
    title: 'Fallback',
    file: define('fallback'),
    calls: ['always', 'previousChampion'],
    isCalledWith: true,
    types: [['FallbackOptions', 'Both take as the last argument:']],
  },
]

/** Exported functions that are not part of the API for model files. */
const behind = /^(?:compile|check|issuesOf|is)[A-Z]/

export function modelFilePage(): string {
  return [
    '# Model files',
    '',
    'Every word of a file in `models/`, from the comments of the code. [The tutorial](../tutorial.md) writes one, and',
    '[policies](policy.md) describe the result. `tenure models sync` refuses a wrong file and lists all its issues.',
    '',
    'A model, a view and a trigger have names of up to 63 lower-case letters, digits and hyphens that begin with a letter. A',
    "`Duration` is a number and `ms`, `s`, `min`, `h`, `d` or `week`: `'30 min'`. A type that is a link has its fields, defaults and",
    'ranges on the page of policies. [In Python](../how-to/train-in-python.md#a-model-file-in-python) the names are `yes_no` and `event_time`.',
    '',
    ...parts.flatMap(({ title, about = '', file, types = [], calls = [], isCalledWith, omit = [] }) => {
      const declared = readDeclarations(file)
      return [
        `## ${title}`,
        '',
        ...(about === '' ? [] : [about, '']),
        ...(calls.length === 0
          ? []
          : [markdownTable(['word', 'meaning'], callsOf(declared, calls, isCalledWith)), '']),
        ...types.flatMap(([type, before]) => [
          ...(before === '' ? [] : [before, '']),
          markdownTable(
            ['name', 'type', 'meaning'],
            rowsOfTruths(
              membersOf(declared, type).filter(({ name }) => !omit.includes(name)),
              '',
              type,
            ),
          ),
          '',
        ]),
      ]
    }),
  ].join('\n')
}

function callsOf(
  declared: Declarations,
  wanted: readonly string[] | 'all',
  isCalledWith = false,
): string[][] {
  const { functions, path } = declared
  const names = wanted === 'all' ? [...functions.keys()].filter((name) => !behind.test(name)) : wanted
  return names.map((name) => {
    const { meaning = '', parameters = [] } = functions.get(name) ?? {}
    if (meaning === '') throw new Error(`${path} has no ${name} with a comment that says what it is`)
    const given = parameters.map((each) => argumentOf(declared, each)).join(', ')
    return [markdownCode(isCalledWith ? `${name}(${given})` : name), meaning]
  })
}

/** An argument as one writes it: its name, or the fields of an object; `?` marks what may be left out. */
function argumentOf(declared: Declarations, { name, type, members, optional }: Member): string {
  const named = type
    .replaceAll(/\{[^}]*\}/g, '')
    .split('&')
    .flatMap((each) => declared.types.get(/^(?:Omit<)?(\w+)/.exec(each.trim())?.[1] ?? '') ?? [])
    .filter((each) => !type.startsWith(`Omit<`) || !type.includes(`'${each.name}'`))
  const fields = [...members, ...named].map((each) => `${each.name}${each.optional ? '?' : ''}`)
  return `${fields.length === 0 ? name : `{ ${fields.join(', ')} }`}${optional ? '?' : ''}`
}

function membersOf({ types, functions, path }: Declarations, name: string): Member[] {
  const found = name.endsWith('()')
    ? functions.get(name.slice(0, -2))?.parameters.find(({ members }) => members.length > 0)?.members
    : types.get(name)
  if (found === undefined) throw new Error(`there is no type ${name} in ${path}`)
  return found
}

function rowsOfTruths(members: readonly Member[], prefix: string, type: string): string[][] {
  return members.flatMap((member) => {
    const name = `${prefix}${member.name}`
    if (member.name === 'kind') return []
    if (member.meaning === '') throw new Error(`${type}.${name} has no comment that says what it is`)
    const inner = rowsOfTruths(member.members, `${name}.`, type)
    return [
      [
        markdownCode(`${name}${member.optional ? '?' : ''}`),
        inner.length > 0 ? '' : typeText(member.type),
        member.meaning,
      ],
      ...inner,
    ]
  })
}

/** Sections of the page of policies that list the fields of a type. */
const sections: Readonly<Record<string, string>> = {
  GatePolicy: 'the-gate',
  CanaryPolicy: 'the-limits',
  QualificationLimits: 'qualification',
  ReleasePolicy: 'release-1',
  DrillPolicy: 'drills',
  BusinessPolicy: 'business-value',
  CostPolicy: 'cost',
}

/** A type of another page as a link to its fields; none when it is too long for a cell. */
function typeText(type: string): string {
  const [, name = '', field] = /^(?:Partial<)?(\w+)(?:\['(\w+)'\])?>?$/.exec(type) ?? []
  const section = sections[name]
  if (section !== undefined) return `[${markdownCode(field ?? name)}](policy.md#${section})`
  return type.length > 60 ? '' : markdownCode(type)
}
