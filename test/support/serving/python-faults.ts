/** Lists the faults of models that are code of Python: what such code does as it is asked, or as it is loaded. */
export interface PythonFault {
  /** The statements of the model, which define `answer`. */
  code: string
  /** What a caller of the model is told in the end. */
  says: RegExp
  /** The limit that ends it; without one, time ends no call, however busy the machine is. */
  reaches?: 'loadMs' | 'runMs'
}

const asked = (statements: string): string =>
  `import os, threading, time\ndef answer(rows):\n${statements.replace(/^/gm, '    ')}\n    return rows`

/** Short enough to await. */
const reachedMs = 2_000

/** The limits of a model, of which only the one is short that its fault reaches. */
export const faultLimits = (reaches?: PythonFault['reaches']) => ({
  loadMs: 600_000,
  runMs: 600_000,
  memoryMb: 512,
  ...(reaches && { [reaches]: reachedMs }),
})

export const pythonFaults: Readonly<Record<string, PythonFault>> = {
  'ends its process': { code: asked('os._exit(3)'), says: /it ended with 3/ },
  'is ended by a signal': {
    code: asked('import ctypes\nctypes.string_at(0)'),
    says: /has died: it (was ended by|ended with)/,
  },
  'raises an exception': { code: asked('raise ValueError("no such colour")'), says: /no such colour/ },
  hangs: { code: asked('time.sleep(600)'), says: /it has taken more than 2000 ms/, reaches: 'runMs' },
  'computes without end': {
    code: asked('while True: pass'),
    says: /it has taken more than 2000 ms/,
    reaches: 'runMs',
  },
  'keeps memory': {
    code: `kept = []\n${asked('while True: kept.append(bytearray(16 << 20))')}`,
    says: /MemoryError|has died/,
  },
  'starts processes without end': {
    code: asked('while True: os.fork()'),
    says: /BlockingIOError|Resource temporarily unavailable|has died|nothing has asked/,
  },
  'starts threads without end': {
    code: asked('while True: threading.Thread(target=time.sleep, args=(600,)).start()'),
    says: /can't start new thread|MemoryError/,
  },
  'prints without end': {
    code: asked('while True: os.write(2, b"x" * 65536)'),
    says: /it has taken more than 2000 ms/,
    reaches: 'runMs',
  },
  'writes messages without end': {
    code: asked('while True: os.write(3, bytes(4) + b"\\xff" * 4 + bytes(16))'),
    says: /answer that nothing has asked for/,
  },
  'fills its folder': {
    code: asked('with open("/tmp/full", "wb") as file:\n    while True: file.write(bytes(1 << 20))'),
    says: /No space left on device|MemoryError|has died/,
  },
  'answers in another shape': { code: asked('return rows[:, :0]'), says: /numbers for a row|cannot reshape/ },
  'imports without end': {
    code: 'import time\nwhile True: time.sleep(1)',
    says: /it has taken more than 2000 ms/,
    reaches: 'loadMs',
  },
}

/** A model without a fault. */
export const soundModel = 'def answer(rows):\n    return rows * 2'
