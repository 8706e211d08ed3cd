/**
 * What any validator must offer to be used in a contract: the part of Standard Schema that Syncline reads. Written here
 * as types, so that nobody needs a package for it. Source: https://standardschema.dev, version 1.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => ValidationResult<Output> | Promise<ValidationResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/** The outcome of a validation: the value, with defaults and conversions applied, or what is wrong with the input. */
export type ValidationResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly ValidationIssue[] }

/** One thing that is wrong, and where. */
export interface ValidationIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What a schema takes: the type of a value before validation. */
export type In<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input']

/** What a schema gives: the type of a value after validation. */
export type Out<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output']
