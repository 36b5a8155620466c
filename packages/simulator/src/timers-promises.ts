/** Replaces `node:timers/promises`, whose timers would wait in real time, by the world's global `setTimeout`. */
export const setTimeout = <T>(ms: number, value?: T): Promise<T | undefined> =>
  new Promise((resolve) => void globalThis.setTimeout(() => resolve(value), ms))

export const setImmediate = (): Promise<void> => setTimeout(0)
