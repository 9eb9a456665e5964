// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Agreement, Demand, LinkDigest, Opening, SignedLink, SignedResult} from "../types/Terms.sol";
import {Proposal} from "../types/Types.sol";

/// @title Who broke a task's rules: breaches that the contract sees by itself, and challenges that arbiters judge.
/// @notice A breach is proved by evidence that no honest participant can be made to produce. Everything else is challenged within
/// the agreement's time and judged by its arbiters; when they are silent, by its default. A task without an agreement may be
/// challenged under {standardAgreement}: then only the record is at stake, and the governor judges. What was decided stays decided.
interface IDisputes {
    enum Breach {
        TwoStatements, // signed two results for one attempt
        TwoDigests, // signed two digests of the same messages
        FalseOpening, // signed an opening that does not lead to the commitment which it names
        NoAcceptance, // staked a bond and did not accept in time
        NoReport // let a run end in silence: neither a proof nor a failure, a signed result or a report of its own
    }

    enum Outcome {
        None,
        Pending,
        Upheld,
        Dismissed
    }

    /// @dev Bit i stands for party i, bit 16 for a requester that is no party.
    struct Verdict {
        uint16 pending; // challenges without an outcome
        bool void; // the statement itself was challenged, and that was upheld
        uint24 atFault; // loses its share and its bond
        uint24 forfeited; // loses its bond: a challenge of its own was dismissed by the arbiters
        uint16 willing; // showed its acceptance in time, whether or not the ledger took it
        uint16 reported; // showed its signed result of `attempt` in time, or said what it waits for
        uint8 attempt;
    }

    struct Dispute {
        bytes20 task; // the first bytes of its id
        Outcome outcome;
        uint8 accused; // a party's place, or 255 for the statement itself
        uint8 challenger; // a party's place, or 16 for the requester
        uint8 upholding; // arbiters
        uint8 dismissing;
        uint8 voted; // bit i: arbiter i has given its opinion
        uint40 ruleBy;
    }

    event DisputeRaised(
        bytes32 indexed dispute,
        bytes32 indexed task,
        address indexed challenger,
        address accused,
        uint16 reason,
        bytes32 evidence,
        uint40 ruleBy
    );
    /// @notice The two ends of a link signed different digests, so that one of them lies. Which one is for the arbiters, before whom a
    /// participant challenges it.
    event LinkContradicted(
        bytes32 indexed task, address indexed from, address indexed to, uint8 attempt, bytes32 evidence
    );
    /// @notice An owner is to show where a row stands in its dataset, by the dispute's deadline.
    event OpeningDemanded(bytes32 indexed dispute, bytes32 indexed task, address indexed accused, Demand demand);
    event OpeningAnswered(bytes32 indexed dispute, bytes32 indexed task, bytes32 leaf);
    event OpinionGiven(bytes32 indexed dispute, bytes32 indexed task, address indexed arbiter, bool uphold, bytes32 reasons);
    event DisputeDecided(
        bytes32 indexed dispute, bytes32 indexed task, address indexed accused, bool upheld, bool byDefault
    );
    event BreachProved(
        bytes32 indexed task, address indexed accused, Breach indexed breach, bytes32 evidence, address prover
    );
    event Tendered(bytes32 indexed task, address indexed party, uint8 attempt, bytes32 digest);
    event Reported(
        bytes32 indexed task, address indexed party, address indexed accused, uint8 attempt, uint16 reason, bytes32 evidence
    );

    error NotAParty(address account);
    error WrongTerms(bytes32 task);
    error WrongTask(bytes32 task);
    error WrongAttempt(bytes32 task, uint8 attempt);
    error TaskNotEnded(bytes32 task);
    error TooLate(bytes32 task, uint40 deadline);
    error TooEarly(bytes32 task, uint40 deadline);
    error NotBound(address accused);
    error BondMissing(address challenger);
    error DisputeExists(bytes32 dispute);
    error DisputeUnknown(bytes32 dispute);
    error DisputeIsDecided(bytes32 dispute);
    error NotAnArbiter(address caller);
    error OpinionIsGiven(address arbiter);
    error NoContradiction();
    error BadSignature(address party);
    error AlreadyAtFault(address account);
    error NobodyLate(bytes32 task);
    error OpeningHolds(bytes32 dataset);
    error WrongState(bytes32 task, uint8 state);
    error BadDemand();
    error WrongOpening(bytes32 dispute);

    /// @notice Challenges a party, or with `accused` zero the statement itself. A party or the requester, within the agreement's time;
    /// where a bond is asked, only who staked it. Once for each challenger and accused. A party is challenged only when it
    /// undertook the agreement ({ISettlement.post}), or accepted a task without one; a statement only when there is one.
    /// @param evidence a digest of what the arbiters will be shown
    function challenge(
        Proposal calldata proposal,
        Agreement calldata agreement,
        address accused,
        uint16 reason,
        bytes32 evidence
    ) external returns (bytes32 dispute);

    /// @notice Demands that the owner of a dataset in the task shows where a row stands in it: a challenge that its answer ends, and that
    /// arbiters judge, or the default decides, when it is silent. As {challenge} else, and besides one. They look also whether the
    /// demand is for the commitment and the size that the statement and the dataset's descriptor name.
    function demandOpening(Proposal calldata proposal, Agreement calldata agreement, Demand calldata demand)
        external
        returns (bytes32 dispute);

    /// @notice Answers a demand by an opening that leads to the commitment, which dismisses it and costs the challenger nothing. Anyone,
    /// until the deadline: the opening speaks for itself.
    function answerOpening(
        Proposal calldata proposal,
        Agreement calldata agreement,
        bytes32 dispute,
        Opening calldata opening
    ) external;

    /// @notice An arbiter's opinion, until the deadline. The majority of the arbiters decides. The governor, who judges where no arbiters
    /// are named, gives none about a task that it takes part in: the default decides then.
    function rule(Proposal calldata proposal, Agreement calldata agreement, bytes32 dispute, bool uphold, bytes32 reasons)
        external;

    /// @notice Decides a dispute that the arbiters left open, by the agreement's default. Anyone, after the deadline.
    function conclude(Proposal calldata proposal, Agreement calldata agreement, bytes32 dispute) external;

    /// @notice Shows that a party signed two different results for one attempt. Anyone.
    function proveTwoStatements(
        Proposal calldata proposal,
        Agreement calldata agreement,
        address accused,
        SignedResult calldata one,
        SignedResult calldata other
    ) external;

    /// @notice Shows two different signed digests of the same messages. Of one signer: a breach. Of the two ends of the link: the
    /// contract knows that one of them lies and puts that on record, which anyone may repeat to no effect, for a {challenge} of either. Anyone.
    function proveTwoDigests(
        Proposal calldata proposal,
        Agreement calldata agreement,
        SignedLink calldata one,
        SignedLink calldata other
    ) external;

    /// @notice Shows an opening, signed by a dataset's owner, that does not lead to the commitment which it names. Anyone.
    function proveFalseOpening(
        Proposal calldata proposal,
        Agreement calldata agreement,
        Opening calldata opening,
        bytes calldata signature
    ) external;

    /// @notice Finds at fault who missed a deadline of an expired task. Anyone. When the first attempt was never accepted by all: who
    /// staked a bond and neither accepted nor showed its acceptance in time. When a run ended in silence: who staked a bond and
    /// neither showed its signed result of the attempt in time nor reported what it waits for.
    function proveLateness(Proposal calldata proposal, Agreement calldata agreement) external;

    /// @notice Records in time that a party accepts the first attempt, for when the ledger refuses the acceptance for another's
    /// fault (a grant revoked, a dataset withdrawn), or the requester proposes with no time left to accept: so it is taken before the
    /// task is proposed too. Anyone may relay.
    function tenderAcceptance(Proposal calldata proposal, address party, bytes calldata signature) external;

    /// @notice Records in time that a party signed a result of the running attempt, for when another withholds its signature.
    /// Anyone may relay.
    function tenderResult(Proposal calldata proposal, address party, SignedResult calldata signed) external;

    /// @notice Says in time that the calling party, or that of the calling operator, is not the one that is silent: whom it waits for (zero: it does not know), why, and a
    /// digest of its evidence. Unlike {ITaskLedger.fail} it leaves the run open for the silent one to speak, until the run expires.
    function tenderReport(Proposal calldata proposal, uint8 attempt, address accused, uint16 reason, bytes32 evidence)
        external;

    function verdictOf(bytes32 task) external view returns (Verdict memory);
    function disputeAt(bytes32 dispute) external view returns (Dispute memory);
    function disputeId(bytes32 task, address challenger, address accused) external view returns (bytes32);
    function demandId(bytes32 task, address challenger, address accused) external view returns (bytes32);

    /// @notice The terms under which a task without an agreement can be challenged.
    function standardAgreement(Proposal calldata proposal) external view returns (Agreement memory);
    function linkDigest(LinkDigest calldata link) external view returns (bytes32);
    function openingDigest(Opening calldata opening) external view returns (bytes32);
}
