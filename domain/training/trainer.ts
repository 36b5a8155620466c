/** Defines the program that trains a model whose model file has no training function. */

/** A training that is interrupted in every attempt, for example by a kill, ends after this many attempts. */
export const maxTrainingAttempts = 10

/** The limits of a program in any language. */
export interface ProgramLimits {
  /** MiB of memory of each process of the program. Default: TENURE_TRAINING_MEMORY_MB. */
  memoryMb?: number
  /** An attempt that takes longer fails the training. Default: 24 hours. */
  limitMs?: number
  /** An attempt without any output for this long is killed and retried. */
  silenceMs?: number
}

export type Trainer =
  /** A Python script. Paths are relative to the folder of the model file. `interpreter`: default `python3`. */
  | ({ kind: 'python'; file: string; requirements?: string; interpreter?: string } & ProgramLimits)
  /**
   * Any other program with its arguments, run in the folder of the model file. `files`: files and folders of the program that no argument
   * names.
   */
  | ({ kind: 'command'; command: string[]; files?: string[] } & ProgramLimits)
  /** Workers of the user's own task queue, which run the activity `train` by the same contract. */
  | { kind: 'queue'; queue: string; limitMs?: number }

/** The payload of a heartbeat while the packages of a program are installed. The API reads it. */
export interface InstallingBeat {
  installing?: string
}
