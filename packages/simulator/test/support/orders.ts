/** Simulates orders from a seed, and prints what happened as JSON: `orders.ts CASE SEED`. */
import {
  createHost,
  createTemporal,
  createWorld,
  enter,
  replaceGlobals,
  type Worker,
} from '@tenure/simulator'
import {
  CancellationScope,
  condition,
  defineSignal,
  defineUpdate,
  proxyActivities,
  setHandler,
  sleep,
} from '@temporalio/workflow'

const [, , name = '', seed = '1'] = process.argv
const { charge, wait } = proxyActivities<{
  charge(amount: number): Promise<number>
  wait(): Promise<void>
}>({ startToCloseTimeout: '1 minute', retry: { maximumAttempts: 3 } })

const add = defineUpdate<number, [number]>('add')
const pay = defineSignal('pay')
let steps = 0
const workflows = {
  async order(amount: number) {
    const began = Date.now()
    await sleep('1 day')
    return { charged: await charge(amount), days: (Date.now() - began) / 86_400_000 }
  },
  async basket() {
    let sum = 0
    let isPaid = false
    setHandler(add, (amount) => (sum += amount))
    setHandler(pay, () => void (isPaid = true))
    await condition(() => isPaid)
    return sum
  },
  /** Asks for another command when it is replayed. */
  async random() {
    if (steps++ === 0) await sleep(1_000)
    else await charge(1)
    await sleep(1_000)
  },
  async cancelled() {
    try {
      await wait()
      return 'waited'
    } catch {
      return CancellationScope.nonCancellable(() => charge(7))
    }
  },
}

replaceGlobals()
const world = createWorld(Number(seed), { traced: true })
enter(world)
let charges = 0
const activities = {
  charge(amount: number) {
    charges++
    if (name === 'failing') return Promise.reject(new Error('declined'))
    return new Promise((resolve) => setTimeout(() => resolve(amount), world.int(500)))
  },
  wait: () => new Promise(() => {}),
}
const workers = ['first', 'second'].map((of): Worker => ({
  machine: world.machine(of),
  host: createHost(workflows),
  activities,
}))
const failures: string[] = []
const temporal = createTemporal({
  world,
  workers,
  watcher: {
    scheduled: (_, type) => world.tell(`asks for ${type}`),
    completed: (_, type, result) => world.tell(`${type} gives ${JSON.stringify(result)}`),
    taskFailed: (_, error) => failures.push((error as Error).message),
    diesBeforeTelling({ machine }) {
      if (name !== 'crash' || charges > 1) return false
      world.crash(machine)
      return true
    },
  },
})
const type = name in workflows ? name : 'order'
temporal.start(type, 'it', [30])
const answers: unknown[] = []
if (name === 'basket') {
  for (const [id, amount] of [
    ['a', 1],
    ['b', 2],
    ['a', 1],
  ] as const)
    temporal.update('it', 'add', id, amount, (answer) => answers.push(answer))
  world.after(undefined, 5_000, () => temporal.signal('it', 'pay', undefined))
}
if (name === 'cancelled') world.after(undefined, 5_000, () => temporal.cancel('it'))
if (name === 'random')
  // A process that has started again holds no workflow, so it replays.
  world.after(undefined, 500, () => {
    for (const worker of workers) worker.host = createHost(workflows)
  })
await world.run(
  2 * 86_400_000,
  () => {},
  () => temporal.running('it') === undefined || failures.length > 2,
)
process.stdout.write(
  JSON.stringify({ closed: temporal.all()[0]!.closed, charges, answers, failures, trace: world.trace }),
)
